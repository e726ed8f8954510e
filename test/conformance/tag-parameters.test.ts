import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS, digestOf, imageDocument, mediaTypes, uniqueName } from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertContentHeaders,
  assertRefused,
  describe,
  record,
  startClient,
  strings,
} from '../registry-client.ts'

test('pushing a manifest with tag parameters', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Pushing Manifests": each tag parameter is confirmed by OCI-Tag and can be pulled (${algorithm})`,
      async () => {
        const { name, bytes } = await image(client)
        const digest = digestOf(bytes, algorithm)
        const tags = ['1.2.3', '1.2', '1', 'latest']
        const answer = await put(client, name, digest, { tags, bytes })
        assert.equal(answer.status, 201, describe(answer))
        assert.equal(answer.header('docker-content-digest'), digest)
        assert.deepEqual(confirmed(answer), tags.toSorted())
        for (const reference of [...tags, digest]) {
          const pulled = await client.get(`/v2/${name}/manifests/${reference}`)
          assertContent(pulled, { bytes, digest, mediaType: mediaTypes.image })
        }
        assert.deepEqual(await listed(client, name), tags.toSorted())
      },
    )

    void t.test(`spec "Pushing Manifests": at least ten tags are accepted in one request (${algorithm})`, async () => {
      const { name, bytes } = await image(client)
      const tags = Array.from({ length: 10 }, (_, index) => `${index}`.padEnd(128, 't'))
      const answer = await put(client, name, digestOf(bytes, algorithm), { tags, bytes })
      assert.equal(answer.status, 201, describe(answer))
      assert.deepEqual(confirmed(answer), tags)
      assert.deepEqual(await listed(client, name), tags)
    })
  }

  void t.test('spec "Pushing Manifests": a push by digest without tag parameters makes no tag', async () => {
    const { name, bytes } = await image(client)
    const answer = await put(client, name, digestOf(bytes), { tags: [], bytes })
    assert.equal(answer.status, 201, describe(answer))
    assert.equal(answer.header('oci-tag'), undefined)
    assert.deepEqual(await listed(client, name), [])
  })

  void t.test('spec "Pushing Manifests": a tag parameter moves a tag that is there', async () => {
    const { name, bytes } = await image(client)
    const old = await client.pushImage(name, { reference: 'latest' })
    assert.equal((await put(client, name, digestOf(bytes), { tags: ['latest', 'new'], bytes })).status, 201)
    const digest = digestOf(bytes)
    assertContent(await client.get(`/v2/${name}/manifests/latest`), { bytes, digest })
    assertContentHeaders(await client.head(`/v2/${name}/manifests/${old.descriptor.digest}`), old.descriptor)
  })

  void t.test('spec "Pushing Manifests": a tag may move from a sha256 to a sha512 manifest and back', async () => {
    const { name, bytes } = await image(client)
    for (const algorithm of [...ALGORITHMS, ...ALGORITHMS]) {
      const digest = digestOf(bytes, algorithm)
      assert.equal((await put(client, name, digest, { tags: ['latest'], bytes })).status, 201)
      assertContent(await client.get(`/v2/${name}/manifests/latest`), { bytes, digest })
    }
  })

  void t.test('spec "Pushing Manifests": a tag named twice is made once', async () => {
    const { name, bytes } = await image(client)
    const answer = await put(client, name, digestOf(bytes), { tags: ['a', 'a', 'b'], bytes })
    assert.equal(answer.status, 201, describe(answer))
    assert.deepEqual([...new Set(confirmed(answer))], ['a', 'b'])
    assert.deepEqual(await listed(client, name), ['a', 'b'])
  })

  void t.test(
    'spec "Pushing Manifests": an invalid tag parameter is never made, and OCI-Tag tells what was',
    async () => {
      for (const tag of ['', '.a', '-a', 'a b', 'a/b', 'a:b', 'é', 't'.repeat(129)]) {
        const { name, bytes } = await image(client)
        const answer = await put(client, name, digestOf(bytes), { tags: ['good', tag], bytes })
        if (answer.status === 201) assert.deepEqual(confirmed(answer), ['good'])
        else assertRefused(answer, 400)
        assert.deepEqual(await listed(client, name), answer.status === 201 ? ['good'] : [])
      }
    },
  )

  void t.test('spec "Pushing Manifests": too many tags are refused with 414, and none of them is made', async () => {
    const { name, bytes } = await image(client)
    const tags = Array.from({ length: 1200 }, (_, index) => `t${index}`)
    const answer = await put(client, name, digestOf(bytes), { tags, bytes })
    assertRefused(answer, 414)
    assert.deepEqual(await listed(client, name), [])
    assertRefused(await client.head(`/v2/${name}/manifests/${digestOf(bytes)}`), 404)
  })

  void t.test('spec "Pushing Manifests": a request line beyond any limit is refused with 414 or 431', async () => {
    const { name, bytes } = await image(client)
    const tags = Array.from({ length: 5000 }, (_, index) => `tag-${index}`)
    assertRefused(await put(client, name, digestOf(bytes), { tags, bytes }), [414, 431])
    assert.deepEqual(await listed(client, name), [])
  })

  void t.test('spec "Pushing Manifests": a refused manifest makes none of its tags', async () => {
    const { name, bytes } = await image(client)
    const altered = Buffer.concat([bytes, Buffer.from(' ')])
    const answer = await put(client, name, digestOf(bytes), { tags: ['a', 'b'], bytes: altered })
    assertRefused(answer, 400, 'DIGEST_INVALID')
    assert.deepEqual(await listed(client, name), [])
  })
})

/** A repository whose blobs are there, and an image of them that is not. */
async function image(client: RegistryClient): Promise<{ name: string; bytes: Buffer }> {
  const name = uniqueName()
  return { name, bytes: imageDocument(await client.pushBlob(name), [await client.pushBlob(name)]) }
}

function put(
  client: RegistryClient,
  name: string,
  digest: string,
  { tags, bytes }: { tags: string[]; bytes: Buffer },
): Promise<Answer> {
  const query = tags.map((tag) => `tag=${encodeURIComponent(tag)}`).join('&')
  return client.putManifest(name, query === '' ? digest : `${digest}?${query}`, bytes, mediaTypes.image)
}

/** The tags of all OCI-Tag lines, in order of their names. */
function confirmed(answer: Answer): string[] {
  return (answer.header('oci-tag') ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .toSorted()
}

/** The tags of a repository, of which there may be none because it holds no manifest yet. */
async function listed(client: RegistryClient, name: string): Promise<string[]> {
  const answer = await client.get(`/v2/${name}/tags/list`)
  if (answer.status === 404) return []
  assert.equal(answer.status, 200, describe(answer))
  return strings(record(answer.json())['tags']).toSorted()
}
