import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, imageDocument, indexDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertRefused,
  describe,
  record,
  startClient,
  strings,
} from '../registry-client.ts'
import { openRequest } from './slow-request.ts'

const CLIENTS = 8
const MEBIBYTE = 1024 * 1024

const ascending = (one: number, other: number) => one - other

const times = async <Result>(count: number, work: (number: number) => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: count }, async (_, number) => work(number)))

test('clients at the same time', { concurrency: 2 }, async (t) => {
  const client = await startClient(t)

  void t.test(`${CLIENTS} clients push the same blob, each in its way, and all of them succeed`, async () => {
    const [name, bytes] = [uniqueName('faults'), randomBlob(2 * MEBIBYTE)]
    const digest = digestOf(bytes)
    await times(CLIENTS, async (number) => {
      if (number % 2 === 0) return client.pushBlob(name, bytes)
      return assertCreated(await client.post(`/v2/${name}/blobs/uploads/?digest=${digest}`, { body: bytes }))
    })
    assertContent(await client.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
  })

  void t.test(
    `${CLIENTS} clients push different manifests with the same tag: it stands for one of them, and all are there`,
    async () => {
      const name = uniqueName('faults')
      const config = await client.pushBlob(name)
      const manifests = Array.from({ length: CLIENTS }, (_, number) =>
        imageDocument(config, [], { annotations: { number: String(number) } }),
      )
      await times(CLIENTS, async (number) =>
        client.pushManifest(name, manifests[number] ?? Buffer.alloc(0), mediaTypes.image, { reference: 'contested' }),
      )
      const digests = manifests.map((bytes) => digestOf(bytes))
      const tagged = await client.get(`/v2/${name}/manifests/contested`)
      const winner = digests.indexOf(digestOf(tagged.body))
      assert.ok(winner >= 0, describe(tagged))
      assert.equal(tagged.header('docker-content-digest'), digests[winner])
      for (const [number, bytes] of manifests.entries()) {
        const digest = digestOf(bytes)
        assertContent(await client.get(`/v2/${name}/manifests/${digests[number]}`), { bytes, digest })
      }
    },
  )

  void t.test('If-None-Match: * lets one of the clients that make the same tag win, and no other', async () => {
    const name = uniqueName('faults')
    const config = await client.pushBlob(name)
    const answers = await times(CLIENTS, async (number) =>
      client.request('PUT', `/v2/${name}/manifests/once`, {
        headers: { 'Content-Type': mediaTypes.image, 'If-None-Match': '*' },
        body: imageDocument(config, [], { annotations: { number: String(number) } }),
      }),
    )
    assert.deepEqual(answers.map((answer) => answer.status).toSorted(ascending), [
      201,
      ...Array.from({ length: CLIENTS - 1 }, () => 412),
    ])
  })

  void t.test(
    'two clients send the same range of an upload: one is taken, the other refused with 416, none is mixed in',
    async () => {
      const name = uniqueName('faults')
      const url = await client.startUpload(name)
      const contents = [randomBlob(MEBIBYTE + 1), randomBlob(MEBIBYTE + 1)]
      const headers = { 'Content-Range': `0-${MEBIBYTE}`, 'Content-Length': MEBIBYTE + 1 }
      const requests = contents.map((bytes) => ({ bytes, request: openRequest('PATCH', url, headers) }))
      // In turns, so that both bodies are under way at once.
      for (let start = 0; start <= MEBIBYTE; start += MEBIBYTE / 4) {
        for (const { bytes, request } of requests)
          void request.write(bytes.subarray(start, start + MEBIBYTE / 4)).catch(() => {})
      }
      for (const { request } of requests) request.end()
      const statuses = await Promise.all(requests.map(async ({ request }) => (await request.answer).status))
      assert.deepEqual(statuses.toSorted(ascending), [202, 416])
      const winner = contents[statuses.indexOf(202)]
      assert.ok(winner !== undefined)
      assertCreated(await client.putBlob(url, digestOf(winner)))
      assertContent(await client.get(`/v2/${name}/blobs/${digestOf(winner)}`), {
        bytes: winner,
        digest: digestOf(winner),
      })
    },
  )

  void t.test('two clients close the same upload: one makes the blob, the other learns that it is there', async () => {
    const [name, bytes] = [uniqueName('faults'), randomBlob(MEBIBYTE)]
    const patched = await client.patchChunk(await client.startUpload(name), bytes)
    const answers = await times(2, async () => client.putBlob(client.location(patched), digestOf(bytes)))
    assert.deepEqual(answers.map((answer) => answer.status).toSorted(ascending), [201, 201])
    assertContent(await client.get(`/v2/${name}/blobs/${digestOf(bytes)}`), { bytes, digest: digestOf(bytes) })
  })

  void t.test('an upload that is cancelled while it is closed is either a blob or gone', async () => {
    for (let round = 0; round < 5; round += 1) {
      const [name, bytes] = [uniqueName('faults'), randomBlob(100_000)]
      const url = client.location(await client.patchChunk(await client.startUpload(name), bytes))
      const [closed, cancelled] = await Promise.all([client.putBlob(url, digestOf(bytes)), client.delete(url)])
      const found = await client.get(`/v2/${name}/blobs/${digestOf(bytes)}`)
      assert.deepEqual(
        [closed.status, cancelled.status],
        found.status === 200 ? [201, 404] : [404, 204],
        describe(found),
      )
      assertRefused(await client.get(url), 404, 'BLOB_UPLOAD_UNKNOWN')
    }
  })

  void t.test(
    'an index and the deletion of its child: whichever comes first, there is never an index without its child',
    async () => {
      for (let round = 0; round < 12; round += 1) {
        const name = uniqueName('faults')
        const { bytes, descriptor } = await client.pushImage(name)
        const child = `/v2/${name}/manifests/${descriptor.digest}`
        const index = indexDocument([descriptor])
        const pushes = async () => client.putManifest(name, 'index', index, mediaTypes.index)
        // Both orders of sending, or one of them would hardly ever win.
        const racers = [
          pushes,
          async () => client.delete(child),
          async () => client.putManifest(name, descriptor.digest, bytes, mediaTypes.image),
        ]
        const order = round % 2 === 0 ? racers : racers.toReversed()
        const answers = await Promise.all(order.map(async (race) => race()))
        for (const answer of answers) assertExpected(answer)
        const pushed = answers.find((answer) => answer.url.endsWith('/index'))
        const found = await client.get(`/v2/${name}/manifests/index`)
        assert.equal(found.status, pushed?.status === 201 ? 200 : 404, describe(found))
        if (found.status === 200) assertContent(await client.get(child), { bytes, digest: descriptor.digest })
      }
    },
  )

  void t.test('a manifest and the deletion of its layer: there is never a manifest without its layer', async () => {
    for (let round = 0; round < 10; round += 1) {
      const name = uniqueName('faults')
      const [config, bytes] = [await client.pushBlob(name), randomBlob()]
      const layer = await client.pushBlob(name, bytes)
      const image = imageDocument(config, [layer])
      const racers = [
        async () => client.putManifest(name, 'image', image, mediaTypes.image),
        async () => client.delete(`/v2/${name}/blobs/${layer.digest}`),
      ]
      const answers = await Promise.all((round % 2 === 0 ? racers : racers.toReversed()).map(async (race) => race()))
      for (const answer of answers) assertExpected(answer)
      const found = await client.get(`/v2/${name}/manifests/image`)
      if (found.status === 200) {
        assertContent(await client.get(`/v2/${name}/blobs/${layer.digest}`), { bytes, digest: layer.digest })
      } else {
        assertRefused(found, 404)
      }
    }
  })

  void t.test('a manifest that is pushed and deleted at once by many is there as a whole or not at all', async () => {
    const name = uniqueName('faults')
    const { bytes, descriptor } = await client.pushImage(name, { reference: 'first' })
    const path = `/v2/${name}/manifests/${descriptor.digest}`
    const answers = await times(24, async (number) =>
      number % 3 === 0 ? client.delete(path) : client.putManifest(name, `tag-${number}`, bytes, mediaTypes.image),
    )
    for (const answer of answers) assertExpected(answer)
    await assertWhole(client, name, descriptor.digest, bytes)
  })
})

/** Every tag that is listed stands for the manifest; without the manifest there is no tag. */
async function assertWhole(client: RegistryClient, name: string, digest: string, bytes: Buffer): Promise<void> {
  const found = await client.get(`/v2/${name}/manifests/${digest}`)
  const tags = strings(record((await client.get(`/v2/${name}/tags/list`)).json())['tags'])
  if (found.status === 404) assert.deepEqual(tags, [])
  else assertContent(found, { bytes, digest })
  for (const tag of tags) assertContent(await client.get(`/v2/${name}/manifests/${tag}`), { bytes, digest })
}

/** A push succeeds or lacks a child, a deletion succeeds, finds nothing or is refused because of a parent. */
function assertExpected(answer: Answer): void {
  if (answer.method === 'DELETE') assert.ok([202, 404, 405].includes(answer.status), describe(answer))
  else if (answer.status !== 201) assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN')
}

function assertCreated(answer: Answer): void {
  assert.equal(answer.status, 201, describe(answer))
}
