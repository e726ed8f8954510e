import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALGORITHMS,
  type Algorithm,
  type Descriptor,
  digestOf,
  imageDocument,
  indexDocument,
  mediaTypes,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContentHeaders,
  assertRefused,
  describe,
  record,
  startClient,
} from '../registry-client.ts'

const SBOM = 'application/vnd.example.sbom.v1+json'
const SIGNATURE = 'application/vnd.example.signature.v1'
const ANNOTATIONS = {
  'org.opencontainers.image.created': '2026-01-01T14:42:55Z',
  'org.example.schrift': 'größer 集装箱',
}
const PAGE_LIMIT_BYTES = 4 * 1024 * 1024

test('listing referrers', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Listing Referrers": an unknown subject has an empty index, never a 404 (${algorithm})`,
      async () => {
        const name = uniqueName()
        await client.pushImage(name)
        for (const query of ['', '?artifactType=a%2Fb']) {
          assertEmpty(await client.get(`/v2/${name}/referrers/${unknownDigest(algorithm)}${query}`))
        }
      },
    )

    void t.test(
      `spec "Listing Referrers": an unknown repository has an empty index, never a 404 (${algorithm})`,
      async () => {
        assertEmpty(await client.get(`/v2/${uniqueName()}/referrers/${unknownDigest(algorithm)}`))
      },
    )

    void t.test(`spec "Listing Referrers": a subject without referrers has an empty index (${algorithm})`, async () => {
      const name = uniqueName()
      const { descriptor } = await client.pushImage(name, { algorithm })
      assertEmpty(await client.get(`/v2/${name}/referrers/${descriptor.digest}`))
    })

    void t.test(
      `spec "Listing Referrers": each referrer is listed by type, size, digest and annotations (${algorithm})`,
      async () => {
        const { name, subject } = await subjectOf(client, algorithm)
        const fields = { subject, artifactType: SBOM, annotations: ANNOTATIONS }
        const image = await artifact(client, name, fields, algorithm)
        const index = await client.pushManifest(name, indexDocument([image], fields), mediaTypes.index, { algorithm })
        const expected = [image, index].map((pushed) => ({ ...pushed, artifactType: SBOM, annotations: ANNOTATIONS }))
        assertSame(await client.get(`/v2/${name}/referrers/${subject.digest}`), expected)
      },
    )

    void t.test(
      `spec "Listing Referrers": referrers pushed before their subject are listed (${algorithm})`,
      async () => {
        const name = uniqueName()
        const bytes = imageDocument(await client.pushBlob(name), [])
        const subject = { mediaType: mediaTypes.image, digest: digestOf(bytes, algorithm), size: bytes.length }
        const pushed = { ...(await artifact(client, name, { subject, artifactType: SBOM })), artifactType: SBOM }
        const target = `/v2/${name}/referrers/${subject.digest}`
        assertSame(await client.get(target), [pushed])
        await client.pushManifest(name, bytes, mediaTypes.image, { algorithm })
        assertSame(await client.get(target), [pushed])
      },
    )

    void t.test(`spec "Deleting Manifests": a deleted referrer is no longer listed (${algorithm})`, async () => {
      const { name, subject } = await subjectOf(client, algorithm)
      const target = `/v2/${name}/referrers/${subject.digest}`
      const kept = { ...(await artifact(client, name, { subject, artifactType: SBOM }, algorithm)), artifactType: SBOM }
      const gone = await artifact(client, name, { subject, artifactType: SIGNATURE }, algorithm)
      assert.equal((await client.delete(`/v2/${name}/manifests/${gone.digest}`)).status, 202)
      assertSame(await client.get(target), [kept])
      assertSame(await client.get(`${target}?artifactType=${SIGNATURE}`), [])
    })

    void t.test(
      `spec "Enabling the Referrers API": what the referrers tag lists is listed, once (${algorithm})`,
      async () => {
        const { name, subject } = await subjectOf(client, algorithm)
        const listed = { ...(await artifact(client, name, { subject, artifactType: SBOM })), artifactType: SBOM }
        const unrelated = await artifact(client, name, { artifactType: SBOM })
        const later = { mediaType: mediaTypes.image, artifactType: SIGNATURE }
        const bytes = indexDocument([listed, { ...unrelated, artifactType: SBOM }])
        const reference = referrersTag(subject.digest)
        const tagged = await client.pushManifest(name, bytes, mediaTypes.index, { reference })
        const target = `/v2/${name}/referrers/${subject.digest}`
        assertSame(await client.get(target), [listed])
        const added = { ...(await artifact(client, name, { subject, artifactType: SIGNATURE })), ...later }
        assertSame(await client.get(target), [listed, added])
        // The tag stays what its client pushed.
        const pulled = await client.get(`/v2/${name}/manifests/${reference}`)
        assert.equal(pulled.header('docker-content-digest'), tagged.digest)
        assert.equal((await client.delete(`/v2/${name}/manifests/${reference}`)).status, 202)
        assertSame(await client.get(target), [listed, added])
      },
    )

    void t.test(
      `spec "Referrers Tag Schema": the referrers tag gives the referrers to clients that know no API (${algorithm})`,
      async () => {
        const { name, subject } = await subjectOf(client, algorithm)
        const target = `/v2/${name}/manifests/${referrersTag(subject.digest)}`
        assertRefused(await client.get(target), 404, 'MANIFEST_UNKNOWN')
        const sbom = { ...(await artifact(client, name, { subject, artifactType: SBOM })), artifactType: SBOM }
        const answer = await client.get(target)
        assertSame(answer, [sbom])
        assert.equal(answer.header('docker-content-digest'), digestOf(answer.body))
        const head = await client.head(target)
        assertContentHeaders(head, {
          digest: digestOf(answer.body),
          size: answer.body.length,
          mediaType: mediaTypes.index,
        })
        assert.deepEqual((await client.get(`/v2/${name}/tags/list`)).json(), { name, tags: [] })
      },
    )
  }

  void t.test(
    'spec "Listing Referrers": the answer is an image index with its Content-Type and Content-Length',
    async () => {
      const { name, subject } = await subjectOf(client)
      await artifact(client, name, { subject, artifactType: SBOM })
      const answer = await client.get(`/v2/${name}/referrers/${subject.digest}`)
      assert.equal(answer.header('content-type'), mediaTypes.index)
      assert.equal(answer.header('content-length'), String(answer.body.length))
      assert.equal(record(answer.json())['schemaVersion'], 2)
      assert.equal(record(answer.json())['mediaType'], mediaTypes.index)
    },
  )

  void t.test('spec "Listing Referrers": an invalid digest is refused with 400', async () => {
    const name = uniqueName()
    await client.pushImage(name, { reference: 'latest' })
    for (const digest of [
      'latest',
      'sha256:short',
      `sha256:${'A'.repeat(64)}`,
      `sha512:${'a'.repeat(64)}`,
      'sha256:',
    ]) {
      assertRefused(await client.get(`/v2/${name}/referrers/${digest}`), 400, 'DIGEST_INVALID')
    }
  })

  void t.test(
    'spec "Listing Referrers": an image without an artifactType is listed by the type of its config',
    async () => {
      const { name, subject } = await subjectOf(client)
      const config = typed(await client.pushBlob(name), 'application/vnd.example.config.v1+json')
      const pushed = []
      for (const artifactType of [undefined, '']) {
        const bytes = imageDocument(config, [], { subject, artifactType })
        pushed.push({ ...(await client.pushManifest(name, bytes, mediaTypes.image)), artifactType: config.mediaType })
      }
      assertSame(await client.get(`/v2/${name}/referrers/${subject.digest}`), pushed)
      const filter = `?artifactType=${encodeURIComponent(config.mediaType)}`
      assertSame(await client.get(`/v2/${name}/referrers/${subject.digest}${filter}`), pushed)
    },
  )

  void t.test('spec "Listing Referrers": an index without an artifactType is listed without one', async () => {
    const { name, subject } = await subjectOf(client)
    const bytes = indexDocument([], { subject, annotations: ANNOTATIONS })
    const index = await client.pushManifest(name, bytes, mediaTypes.index)
    const answer = await client.get(`/v2/${name}/referrers/${subject.digest}`)
    assertSame(answer, [{ ...index, annotations: ANNOTATIONS }])
    assert.ok(!answer.body.includes('artifactType'))
  })

  void t.test('spec "Listing Referrers": a filter is applied and named in OCI-Filters-Applied', async () => {
    const { name, subject } = await subjectOf(client)
    const target = `/v2/${name}/referrers/${subject.digest}`
    const sbom = { ...(await artifact(client, name, { subject, artifactType: SBOM })), artifactType: SBOM }
    const signature = {
      ...(await artifact(client, name, { subject, artifactType: SIGNATURE })),
      artifactType: SIGNATURE,
    }
    const all = await client.get(target)
    assertSame(all, [sbom, signature])
    assert.equal(all.header('oci-filters-applied'), undefined)
    for (const [query, expected] of [
      [`artifactType=${encodeURIComponent(SBOM)}`, [sbom]],
      [`artifactType=${SIGNATURE}`, [signature]],
      ['artifactType=application%2Fvnd.example.absent', []],
      [`artifactType=${encodeURIComponent(SBOM)}&artifactType=${SIGNATURE}`, [sbom, signature]],
      [`artifactType=application%2Fvnd.example.absent&artifactType=${SIGNATURE}`, [signature]],
    ] as const) {
      const answer = await client.get(`${target}?${query}`)
      assertSame(answer, [...expected])
      assert.equal(answer.header('oci-filters-applied'), 'artifactType')
    }
  })

  void t.test('spec "Listing Referrers": a query that is no filter is not called one', async () => {
    const { name, subject } = await subjectOf(client)
    const sbom = { ...(await artifact(client, name, { subject, artifactType: SBOM })), artifactType: SBOM }
    const answer = await client.get(`/v2/${name}/referrers/${subject.digest}?unknown=1`)
    assertSame(answer, [sbom])
    assert.equal(answer.header('oci-filters-applied'), undefined)
  })

  void t.test('spec "Listing Referrers": referrers belong to their repository and to no other', async () => {
    const { name, subject } = await subjectOf(client)
    const other = uniqueName()
    await artifact(client, other, { subject, artifactType: SBOM })
    assertEmpty(await client.get(`/v2/${name}/referrers/${subject.digest}`))
  })

  void t.test(
    'spec "Listing Referrers": a referrer may have referrers, and is listed once however often it is pushed',
    async () => {
      const { name, subject } = await subjectOf(client)
      const config = await client.pushBlob(name)
      const bytes = imageDocument(config, [], { subject, artifactType: SBOM })
      const sbom = { ...(await client.pushManifest(name, bytes, mediaTypes.image)), artifactType: SBOM }
      for (const reference of ['sbom', 'again', sbom.digest]) {
        await client.pushManifest(name, bytes, mediaTypes.image, { reference })
      }
      const signature = await artifact(client, name, { subject: sbom, artifactType: SIGNATURE })
      assertSame(await client.get(`/v2/${name}/referrers/${subject.digest}`), [sbom])
      const expected = [{ ...signature, artifactType: SIGNATURE }]
      assertSame(await client.get(`/v2/${name}/referrers/${sbom.digest}`), expected)
    },
  )

  void t.test('spec "Deleting tags": a referrer whose tag is deleted is still listed', async () => {
    const { name, subject } = await subjectOf(client)
    const bytes = imageDocument(await client.pushBlob(name), [], { subject, artifactType: SBOM })
    const sbom = await client.pushManifest(name, bytes, mediaTypes.image, { reference: 'sbom' })
    assert.equal((await client.delete(`/v2/${name}/manifests/sbom`)).status, 202)
    assertSame(await client.get(`/v2/${name}/referrers/${subject.digest}`), [{ ...sbom, artifactType: SBOM }])
  })

  void t.test('spec "Listing Referrers": the referrers of a deleted subject are still listed', async () => {
    const { name, subject } = await subjectOf(client)
    const sbom = await artifact(client, name, { subject, artifactType: SBOM })
    assert.equal((await client.delete(`/v2/${name}/manifests/${subject.digest}`)).status, 202)
    assertSame(await client.get(`/v2/${name}/referrers/${subject.digest}`), [{ ...sbom, artifactType: SBOM }])
  })

  void t.test('spec "Listing Referrers": a list too long for one manifest is given in pages with links', async () => {
    const { name, subject } = await subjectOf(client)
    const config = typed(await client.pushBlob(name), mediaTypes.empty)
    const pushed: Descriptor[] = []
    for (let index = 0; index < 12; index += 1) {
      const artifactType = index % 3 === 0 ? SIGNATURE : SBOM
      const annotations = { index: String(index), padding: 'x'.repeat(600_000) }
      const bytes = imageDocument(config, [], { subject, artifactType, annotations })
      pushed.push({ ...(await client.pushManifest(name, bytes, mediaTypes.image)), artifactType, annotations })
    }
    const target = `/v2/${name}/referrers/${subject.digest}`
    const filtered = `${target}?artifactType=${encodeURIComponent(SBOM)}`
    assertSameSet(await everyPage(client, target), pushed)
    const sboms = pushed.filter(({ artifactType }) => artifactType === SBOM)
    assertSameSet(await everyPage(client, filtered, 'artifactType'), sboms)
  })

  void t.test('spec "Listing Referrers": a page is never larger than a manifest that clients read', async () => {
    const { name, subject } = await subjectOf(client)
    const config = typed(await client.pushBlob(name), mediaTypes.empty)
    const pushed: Descriptor[] = []
    const push = async (paddingBytes: number) => {
      const annotations = { index: String(pushed.length), padding: 'x'.repeat(paddingBytes) }
      const bytes = imageDocument(config, [], { subject, artifactType: SBOM, annotations })
      const image = await client.pushManifest(name, bytes, mediaTypes.image)
      pushed.push({ ...image, artifactType: SBOM, annotations })
    }
    // Two descriptors that fit into a page exactly, but for the index around them.
    await push(PAGE_LIMIT_BYTES / 2)
    const withoutPadding = JSON.stringify({ ...pushed[0], annotations: { index: '1', padding: '' } }).length
    await push(PAGE_LIMIT_BYTES - JSON.stringify(pushed[0]).length - withoutPadding)
    assertSameSet(await everyPage(client, `/v2/${name}/referrers/${subject.digest}`), pushed)
  })
})

function assertEmpty(answer: Answer): void {
  assertSame(answer, [])
  const expected = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] }
  assert.deepEqual(answer.json(), expected)
}

async function subjectOf(client: RegistryClient, algorithm: Algorithm = 'sha256') {
  const name = uniqueName()
  return { name, subject: (await client.pushImage(name, { algorithm })).descriptor }
}

/** Pushes an artifact of one empty config by its digest. */
async function artifact(
  client: RegistryClient,
  name: string,
  fields: Record<string, unknown>,
  algorithm: Algorithm = 'sha256',
): Promise<Descriptor> {
  const config = typed(await client.pushBlob(name, Buffer.from('{}')), mediaTypes.empty)
  const layer = typed(await client.pushBlob(name), 'application/octet-stream')
  return client.pushManifest(name, imageDocument(config, [layer], fields), mediaTypes.image, { algorithm })
}

/** The tag of the spec "Referrers Tag Schema". */
function referrersTag(digest: string): string {
  const [algorithm = '', encoded = ''] = digest.split(':')
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`.replaceAll(/[^a-zA-Z0-9._-]/g, '-')
}

/** Asserts that an answer is one index of exactly these descriptors, in any order. */
function assertSame(answer: Answer, expected: Descriptor[]): void {
  assert.equal(answer.header('link'), undefined)
  assertSameSet(descriptorsOf(answer), expected)
}

function assertSameSet(found: Record<string, unknown>[], expected: Descriptor[]): void {
  assert.deepEqual(found.toSorted(byDigest), expected.toSorted(byDigest))
}

function byDigest(a: { digest?: unknown }, b: { digest?: unknown }): number {
  return String(a.digest) < String(b.digest) ? -1 : 1
}

function descriptorsOf(answer: Answer): Record<string, unknown>[] {
  assert.equal(answer.status, 200, describe(answer))
  assert.equal(answer.header('content-type'), mediaTypes.index)
  const { schemaVersion, mediaType, manifests } = record(answer.json())
  assert.deepEqual([schemaVersion, mediaType], [2, mediaTypes.index])
  assert.ok(Array.isArray(manifests), describe(answer))
  return manifests.map((entry) => {
    const descriptor = record(entry)
    // No annotations may be told by an empty map as well as by none.
    if (JSON.stringify(descriptor['annotations']) === '{}') delete descriptor['annotations']
    return descriptor
  })
}

/** The descriptors of all pages, each of which a client can read as a manifest. */
async function everyPage(client: RegistryClient, target: string, filters?: string) {
  const found: Record<string, unknown>[] = []
  let next: string | undefined = target
  let pages = 0
  for (; next !== undefined; pages += 1) {
    const answer: Answer = await client.get(next)
    assert.ok(answer.body.length <= PAGE_LIMIT_BYTES, `${answer.body.length} bytes in one page`)
    assert.equal(answer.header('oci-filters-applied'), filters)
    found.push(...descriptorsOf(answer))
    next = client.next(answer)
  }
  assert.ok(pages > 1, 'one page only')
  return found
}
