import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  ALGORITHMS,
  type Algorithm,
  type Descriptor,
  digestOf,
  imageDocument,
  indexDocument,
  mediaTypes,
  randomBlob,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import {
  type Answer,
  RegistryClient,
  assertContent,
  assertContentHeaders,
  assertRefused,
  describe,
  record,
  startClient,
  strings,
} from '../registry-client.ts'
import { until } from '../harness.ts'
import { GoClient, targetOf, uploadedEnd, uploadTarget } from './go-client.ts'

/** One line each, in this order. */
const ACCEPTED = [
  'Accept: application/vnd.oci.image.index.v1+json',
  'Accept: application/vnd.oci.image.manifest.v1+json',
  'Accept: application/vnd.docker.distribution.manifest.list.v2+json',
  'Accept: application/vnd.docker.distribution.manifest.v2+json',
  'Accept: application/vnd.docker.distribution.manifest.v1+prettyjws',
  'Accept: application/vnd.docker.distribution.manifest.v1+json',
  'Accept: application/vnd.oci.artifact.manifest.v1+json',
]

const OCTETS = `Content-Type: ${mediaTypes.octetStream}`
/** What the client is configured to send at once, here less than its own 1 MiB. */
const CHUNK_BYTES = 65_536

test('regclient', { concurrency: 4 }, async (t) => {
  const registry = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(`regctl blob put: chunks with a Content-Range, then a PUT without a body (${algorithm})`, async (t) => {
      const client = connect(t, registry)
      const [name, bytes] = [uniqueName('regclient'), randomBlob(3 * CHUNK_BYTES + 392)]
      const query = algorithm === 'sha256' ? '' : `?digest-algorithm=${algorithm}`
      const target = uploadTarget(await client.send('POST', `/v2/${name}/blobs/uploads/${query}`))
      await sendChunks(client, target, { bytes, algorithm })
      const digest = digestOf(bytes, algorithm)
      assertContent(await client.send('GET', `/v2/${name}/blobs/${digest}`), { bytes, digest })
    })

    void t.test(
      `regctl image copy: a blob is mounted from anywhere, or put whole where POST led (${algorithm})`,
      async (t) => {
        const client = connect(t, registry)
        const [name, other, bytes] = [uniqueName('regclient'), uniqueName('regclient'), randomBlob(5_000)]
        await putWhole(client, name, bytes, algorithm)
        const descriptor = { digest: digestOf(bytes, algorithm), size: bytes.length }
        const known = await client.send('POST', mountTarget(other, descriptor.digest))
        assert.equal(known.status, 201, describe(known))
        assertContentHeaders(await client.send('HEAD', `/v2/${other}/blobs/${descriptor.digest}`), descriptor)
      },
    )

    void t.test(
      `regctl image copy: a manifest put by digest says in OCI-Tag that it has its tag (${algorithm})`,
      async (t) => {
        const client = connect(t, registry)
        const name = uniqueName('regclient')
        const blobs = [
          await putWhole(client, name, randomBlob(), algorithm),
          await putWhole(client, name, randomBlob(), algorithm),
        ]
        const [config, layer] = [typed(blobs[0] ?? assert.fail(), mediaTypes.config), blobs[1] ?? assert.fail()]
        const manifest = imageDocument(config, [layer])
        const digest = digestOf(manifest, algorithm)
        const put = await putManifest(client, `${name}/manifests/${digest}?tag=1`, manifest, mediaTypes.image)
        assert.equal(put.header('docker-content-digest'), digest)
        // Where a tag is missing here, it is pushed once more by itself.
        assert.deepEqual(
          put
            .header('oci-tag')
            ?.split(',')
            .map((tag) => tag.trim()),
          ['1'],
        )
        const head = await client.send('HEAD', `/v2/${name}/manifests/1`, { headers: ACCEPTED })
        assertContentHeaders(head, { digest, size: manifest.length, mediaType: mediaTypes.image })
      },
    )
  }

  void t.test('regctl image copy: within the registry a blob is mounted from its repository', async (t) => {
    const client = connect(t, registry)
    const [name, source] = [uniqueName('regclient'), uniqueName('regclient')]
    const { digest } = await registry.pushBlob(source)
    assert.equal((await client.send('HEAD', `/v2/${name}/blobs/${digest}`)).status, 404)
    const mounted = await client.send('POST', mountTarget(name, digest, source))
    assert.equal(mounted.status, 201, describe(mounted))
  })

  void t.test('regctl blob copy: the upload that a failed mount began is cancelled', async (t) => {
    const client = connect(t, registry)
    const [name, source] = [uniqueName('regclient'), uniqueName('regclient')]
    await registry.pushBlob(source)
    const target = uploadTarget(await client.send('POST', mountTarget(name, unknownDigest(), source)))
    const cancelled = await client.send('DELETE', target)
    assert.equal(cancelled.status, 204, describe(cancelled))
    assertRefused(await client.send('GET', target), 404, 'BLOB_UPLOAD_UNKNOWN')
  })

  void t.test('regctl blob put: a chunk that broke goes on in its middle, where the status says', async (t) => {
    const client = connect(t, registry)
    const [name, bytes, chunkBytes] = [uniqueName('regclient'), randomBlob(5_000_000), 2_000_000]
    const target = uploadTarget(await client.send('POST', `/v2/${name}/blobs/uploads/`))
    await client.cutOffUpload('PATCH', target, { ...chunkOf(bytes, 0, chunkBytes), sentBytes: 1_500_000 })
    // How much of it the registry keeps is its own affair.
    const hasBegun = async () => uploadedEnd(await client.send('GET', target)) > 0
    await until(hasBegun, 10_000, () => 'nothing of the broken chunk arrived')
    await sendChunks(client, target, { bytes, algorithm: 'sha256', chunkBytes })
    const digest = digestOf(bytes)
    assertContent(await client.send('GET', `/v2/${name}/blobs/${digest}`), { bytes, digest })
  })

  void t.test('regctl image copy: a whole blob whose PUT broke is put whole again at the same place', async (t) => {
    const client = connect(t, registry)
    const [name, bytes] = [uniqueName('regclient'), randomBlob(400_000)]
    const digest = digestOf(bytes)
    const target = closingTarget(uploadTarget(await client.send('POST', mountTarget(name, digest))), digest)
    for (const sentBytes of [300_000, 0, 1]) {
      await client.cutOffUpload('PUT', target, { headers: [OCTETS], body: bytes, sentBytes })
    }
    const again = await client.send('PUT', target, { headers: [OCTETS], body: bytes })
    assert.equal(again.status, 201, describe(again))
    assertContent(await client.send('GET', `/v2/${name}/blobs/${digest}`), { bytes, digest })
  })

  void t.test(
    'regctl image copy: a whole blob whose PUT keeps breaking is sent in chunks to the same place',
    async (t) => {
      const client = connect(t, registry)
      const [name, bytes] = [uniqueName('regclient'), randomBlob(3 * CHUNK_BYTES)]
      const digest = digestOf(bytes)
      // From here on the digest stays in the query, and comes once more with the closing PUT.
      const target = closingTarget(uploadTarget(await client.send('POST', mountTarget(name, digest))), digest)
      await client.cutOffUpload('PUT', target, { headers: [OCTETS], body: bytes, sentBytes: CHUNK_BYTES })
      await sendChunks(client, target, { bytes, algorithm: 'sha256' })
      assertContent(await client.send('GET', `/v2/${name}/blobs/${digest}`), { bytes, digest })
    },
  )

  void t.test('regctl artifact put: OCI-Subject says that no tag need list the referrers', async (t) => {
    const client = connect(t, registry)
    const name = uniqueName('regclient')
    const subject = (await registry.pushImage(name, { reference: '1' })).descriptor
    const head = await client.send('HEAD', `/v2/${name}/manifests/1`, { headers: ACCEPTED })
    assert.equal(head.header('docker-content-digest'), subject.digest)
    const put = await putArtifact(client, name, subject, 'application/example.sig')
    assert.equal(put.header('oci-subject'), subject.digest)
  })

  void t.test('regctl artifact list: referrers of one type, and the answer says that it was filtered', async (t) => {
    const client = connect(t, registry)
    const name = uniqueName('regclient')
    const subject = (await registry.pushImage(name)).descriptor
    for (const type of ['application/example.sig', 'application/example.sbom'])
      await putArtifact(client, name, subject, type)
    const all = await client.send('GET', `/v2/${name}/referrers/${subject.digest}`)
    assert.equal(all.header('content-type'), mediaTypes.index)
    assert.equal(artifactTypes(all).length, 2)
    const query = '?artifactType=application%2Fexample.sig'
    const filtered = await client.send('GET', `/v2/${name}/referrers/${subject.digest}${query}`)
    assert.equal(filtered.header('oci-filters-applied'), 'artifactType')
    assert.deepEqual(artifactTypes(filtered), ['application/example.sig'])
  })

  void t.test(
    'referrers by tag: an old list under the tag of a subject is kept, read and deleted as it is',
    async (t) => {
      const client = connect(t, registry)
      const name = uniqueName('regclient')
      const subject = unknownDigest()
      const tag = subject.replace(':', '-')
      assert.equal((await client.send('GET', `/v2/${name}/manifests/${tag}`, { headers: ACCEPTED })).status, 404)
      const { descriptor } = await registry.pushImage(name)
      const list = indexDocument([descriptor])
      await putManifest(client, `${name}/manifests/${tag}`, list, mediaTypes.index)
      const expected = { bytes: list, digest: digestOf(list), mediaType: mediaTypes.index }
      assertContent(await client.send('GET', `/v2/${name}/manifests/${tag}`, { headers: ACCEPTED }), expected)
      const deleted = await client.send('DELETE', `/v2/${name}/manifests/${tag}`)
      assert.equal(deleted.status, 202, describe(deleted))
      assert.equal((await client.send('GET', `/v2/${name}/manifests/${tag}`, { headers: ACCEPTED })).status, 404)
    },
  )

  void t.test(
    'referrers by tag: who does not know the API reads the same list under the tag of the subject',
    async (t) => {
      const client = connect(t, registry)
      const name = uniqueName('regclient')
      const subject = (await registry.pushImage(name)).descriptor
      await putArtifact(client, name, subject, 'application/example.sig')
      const tag = subject.digest.replace(':', '-')
      const byTag = await client.send('GET', `/v2/${name}/manifests/${tag}`, { headers: ACCEPTED })
      assert.equal(byTag.header('content-type'), mediaTypes.index)
      assert.deepEqual(byTag.body, (await client.send('GET', `/v2/${name}/referrers/${subject.digest}`)).body)
    },
  )

  void t.test('regctl tag delete: the tag goes, and neither its manifest nor another tag', async (t) => {
    const client = connect(t, registry)
    const name = uniqueName('regclient')
    const { bytes, descriptor } = await registry.pushImage(name, { reference: '1' })
    await putManifest(client, `${name}/manifests/2`, bytes, mediaTypes.image)
    const deleted = await client.send('DELETE', `/v2/${name}/manifests/1`)
    // Anything else, and it would push a manifest in its place, to delete that.
    assert.equal(deleted.status, 202, describe(deleted))
    assertRefused(await client.send('DELETE', `/v2/${name}/manifests/1`), 404, 'MANIFEST_UNKNOWN')
    for (const reference of ['2', descriptor.digest]) {
      const head = await client.send('HEAD', `/v2/${name}/manifests/${reference}`, { headers: ACCEPTED })
      assertContentHeaders(head, descriptor)
    }
  })

  void t.test(
    'regctl manifest delete, regctl blob delete: what was last goes, and the list of tags is empty',
    async (t) => {
      const client = connect(t, registry)
      const name = uniqueName('regclient')
      const blob = await registry.pushBlob(name)
      const { descriptor } = await registry.pushImage(name, { reference: '1' })
      for (const target of [`manifests/${descriptor.digest}`, `blobs/${blob.digest}`]) {
        const deleted = await client.send('DELETE', `/v2/${name}/${target}`)
        assert.equal(deleted.status, 202, describe(deleted))
      }
      const list = await client.send('GET', `/v2/${name}/tags/list`, { headers: ['Accept: application/json'] })
      assert.deepEqual(list.json(), { name, tags: [] })
    },
  )
})

test('regctl blob put: chunks are as long as OCI-Chunk-Min-Length asks', async (t) => {
  const minBytes = 100_000
  const registry = await startClient(t, { config: { limits: { chunksize: minBytes } } })
  const client = connect(t, registry)
  const name = uniqueName('regclient')
  const begun = await client.send('POST', `/v2/${name}/blobs/uploads/`)
  assert.equal(begun.header('oci-chunk-min-length'), String(minBytes))
  const chunkBytes = Math.max(CHUNK_BYTES, Number(begun.header('oci-chunk-min-length')))
  const bytes = randomBlob(2 * chunkBytes + 1)
  assert.equal(await sendChunks(client, uploadTarget(begun), { bytes, algorithm: 'sha256', chunkBytes }), 3)
})

test('regctl tag ls, regctl artifact list: pages lead on by a Link with the relation "next"', async (t) => {
  const registry = await startClient(t, { config: { limits: { pagesize: 2 } } })
  const client = connect(t, registry)
  const name = uniqueName('regclient')
  const tags = ['1', '2', '3']
  let subject: Descriptor | undefined
  for (const reference of tags) subject = (await registry.pushImage(name, { reference })).descriptor
  assert.ok(subject)
  const types = ['application/a', 'application/b', 'application/c', 'application/d', 'application/e']
  for (const type of types) await putArtifact(client, name, subject, type)
  const accept = ['Accept: application/json']
  const first = await client.send('GET', `/v2/${name}/tags/list?n=2`, { headers: accept })
  const second = await client.send('GET', next(first) ?? '', { headers: accept })
  assert.deepEqual(
    [first, second].flatMap((answer) => strings(record(answer.json())['tags'])),
    tags,
  )
  assert.equal(next(second), undefined)
  const found: string[] = []
  for (let target: string | undefined = `/v2/${name}/referrers/${subject.digest}`; target !== undefined;) {
    const answer = await client.send('GET', target)
    assert.equal(answer.status, 200, describe(answer))
    found.push(...artifactTypes(answer))
    target = next(answer)
  }
  assert.deepEqual(found.toSorted(), types)
})

function connect(t: TestContext, registry: RegistryClient): GoClient {
  return new GoClient(t, registry.origin, { userAgent: 'regclient/regctl (v0.11.7)', isKeptAlive: true })
}

/** An anonymous mount names no repository. */
function mountTarget(name: string, digest: string, source?: string): string {
  const query = new URLSearchParams({ ...(source !== undefined && { from: source }), mount: digest })
  return `/v2/${name}/blobs/uploads/?${query.toString()}`
}

/** The digest is put behind what the query has; nothing of that is read, sorted or encoded anew. */
function closingTarget(target: string, digest: string): string {
  return `${target}${target.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`
}

/** Pushes a blob that no repository has: the anonymous mount fails and is an upload, which one PUT finishes. */
async function putWhole(client: GoClient, name: string, bytes: Buffer, algorithm: Algorithm): Promise<Descriptor> {
  const digest = digestOf(bytes, algorithm)
  assert.equal((await client.send('HEAD', `/v2/${name}/blobs/${digest}`)).status, 404)
  const target = uploadTarget(await client.send('POST', mountTarget(name, digest)))
  const put = await client.send('PUT', closingTarget(target, digest), { headers: [OCTETS], body: bytes })
  assert.equal(put.status, 201, describe(put))
  return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
}

function chunkOf(bytes: Buffer, start: number, chunkBytes = CHUNK_BYTES): { headers: string[]; body: Buffer } {
  const body = bytes.subarray(start, start + chunkBytes)
  return { headers: [`Content-Range: ${start}-${start + body.length - 1}`, OCTETS], body }
}

/**
 * Sends a blob in chunks, each to where the answer before led, and closes the upload. A chunk that is refused is
 * followed by a look at the status, and the next one begins behind what that names.
 * @returns how many chunks were taken
 */
async function sendChunks(
  client: GoClient,
  target: string,
  { bytes, algorithm, chunkBytes }: { bytes: Buffer; algorithm: Algorithm; chunkBytes?: number },
): Promise<number> {
  let [location, start, taken] = [target, 0, 0]
  for (let attempts = 0; start < bytes.length && attempts < 10; attempts += 1) {
    let answer = await client.send('PATCH', location, chunkOf(bytes, start, chunkBytes))
    if (answer.status === 202) {
      taken += 1
      assert.ok(uploadedEnd(answer) < start + (chunkBytes ?? CHUNK_BYTES), describe(answer))
    } else {
      assertRefused(answer, 416, 'RANGE_INVALID')
      answer = await client.send('GET', location)
      assert.equal(answer.status, 204, describe(answer))
    }
    start = uploadedEnd(answer) + 1
    location = targetOf(answer, answer.header('location'))
  }
  const closed = await client.send('PUT', closingTarget(location, digestOf(bytes, algorithm)), { headers: [OCTETS] })
  assert.equal(closed.status, 201, describe(closed))
  return taken
}

async function putManifest(client: GoClient, target: string, manifest: Buffer, mediaType: string): Promise<Answer> {
  const headers = [`Content-Type: ${mediaType}`]
  const answer = await client.send('PUT', `/v2/${target}`, { headers, body: manifest })
  assert.equal(answer.status, 201, describe(answer))
  return answer
}

async function putArtifact(client: GoClient, name: string, subject: Descriptor, artifactType: string): Promise<Answer> {
  const [config, layer] = [
    await putWhole(client, name, randomBlob(), 'sha256'),
    await putWhole(client, name, randomBlob(), 'sha256'),
  ]
  const manifest = imageDocument(typed(config, mediaTypes.empty), [typed(layer, artifactType)], {
    artifactType,
    subject,
  })
  return putManifest(client, `${name}/manifests/${digestOf(manifest)}`, manifest, mediaTypes.image)
}

function artifactTypes(answer: Answer): string[] {
  const { manifests } = record(answer.json())
  assert.ok(Array.isArray(manifests), describe(answer))
  return strings(manifests.map((entry: unknown) => record(entry)['artifactType']))
}

/** The target of the link with the relation "next", read as RFC 8288 says. */
function next(answer: Answer): string | undefined {
  const link = answer.header('link')
  if (link === undefined) return undefined
  const [, reference] = /^<([^>]*)>\s*;\s*rel="next"$/.exec(link) ?? []
  return targetOf(answer, reference)
}
