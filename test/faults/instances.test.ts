import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { until } from '../harness.ts'
import { isPgBouncerPresent, startPgBouncer } from '../pgbouncer.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { assertContent, assertRefused, describe, type RegistryClient } from '../registry-client.ts'
import { type Instances, startInstances, startInstancesOn } from './instances.ts'
import { openRequest } from './slow-request.ts'
import { byTier } from './tier.ts'

/** What one instance does is known to the others after so long at most. */
const KNOWN_MS = 1_000
/** The collector may come first every time, which proves nothing. */
const MOST_ROUNDS = 100

/** Starts instances that reach PostgreSQL in some way; undefined where they cannot. */
type Start = (t: TestContext, count: number, config?: { storage?: object }) => Promise<Instances | undefined>

const WAYS: Readonly<Record<string, Start>> = {
  'directly on PostgreSQL': async (t, count, config) =>
    (await isPostgresPresent(t)) ? startInstances(t, count, config) : undefined,
  'through PgBouncer, which gives each transaction another connection': async (t, count, config) => {
    if (!(await isPgBouncerPresent(t))) return undefined
    const cluster = await startPostgres({ fsync: 'off' })
    t.after(async () => cluster.remove())
    return startInstancesOn(t, await startPgBouncer(t, cluster), count, config)
  },
}

/** The clients of two instances. */
function clientsOfTwo({ clients }: Instances): { one: RegistryClient; other: RegistryClient } {
  const [one, other] = clients
  assert.ok(one !== undefined && other !== undefined)
  return { one, other }
}

/** The path of a URL: the same upload at any instance. */
function pathOf(url: string): string {
  const { pathname, search } = new URL(url)
  return `${pathname}${search}`
}

async function pushImage(client: RegistryClient, name: string, tag: string): Promise<Buffer> {
  const config = await client.pushBlob(name)
  const layer = await client.pushBlob(name, randomBlob(1_000))
  const document = imageDocument({ ...config, mediaType: mediaTypes.config }, [
    { ...layer, mediaType: mediaTypes.layer },
  ])
  const answer = await client.putManifest(name, tag, document, mediaTypes.image)
  assert.equal(answer.status, 201, describe(answer))
  return document
}

/**
 * Sends a blob, into an upload where there is one.
 * @returns whether it was acknowledged. The collector may remove it while the database lets its transaction be done again:
 * then it must be asked for once more.
 */
async function sendBlob(origin: string, name: string, bytes: Buffer, upload: string | undefined): Promise<boolean> {
  const url = new URL(upload ?? `${origin}/v2/${name}/blobs/uploads/`)
  url.searchParams.append('digest', digestOf(bytes))
  const answer = await fetch(url, { method: upload === undefined ? 'POST' : 'PUT', body: bytes })
  const text = await answer.text()
  if (answer.status === 201) return true
  assert.match(text, /removed before it could be made known/, `${url.href} gave ${answer.status}`)
  assert.equal(answer.status, 503)
  assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/)
  return false
}

/** Pushes an image whose blobs are those of everybody, and takes it back, again and again: their content is always garbage or not yet. */
async function pushAndDelete(client: RegistryClient, rounds: number, blobs: readonly Buffer[]): Promise<number> {
  let acknowledged = 0
  const [config, layer] = blobs
  assert.ok(config !== undefined && layer !== undefined)
  const document = imageDocument({ mediaType: mediaTypes.config, digest: digestOf(config), size: config.length }, [
    { mediaType: mediaTypes.layer, digest: digestOf(layer), size: layer.length },
  ])
  const digest = digestOf(document)
  for (let round = 0; round < rounds || (acknowledged === 0 && round < MOST_ROUNDS); round++) {
    const name = uniqueName('faults')
    for (const [number, bytes] of blobs.entries()) {
      const start = async () => ((round + number) % 2 === 0 ? client.startUpload(name) : undefined)
      while (!(await sendBlob(client.origin, name, bytes, await start())));
    }
    const pushed = await client.putManifest(name, 'v1', document, mediaTypes.image)
    if (pushed.status === 201) {
      acknowledged++
      for (const bytes of blobs) {
        assertContent(await client.get(`/v2/${name}/blobs/${digestOf(bytes)}`), { bytes, digest: digestOf(bytes) })
      }
      assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes: document, digest })
      assert.equal((await client.delete(`/v2/${name}/manifests/${digest}`)).status, 202)
    } else assertRefused(pushed, 400, 'MANIFEST_BLOB_UNKNOWN')
  }
  return acknowledged
}

for (const [way, start] of Object.entries(WAYS)) {
  suite(way, { concurrency: 2 }, () => {
    test('what one instance has acknowledged another one serves at once, and what it has deleted is gone within a second', async (t) => {
      const instances = await start(t, 2)
      if (instances === undefined) return
      const { one, other } = clientsOfTwo(instances)
      const name = uniqueName('faults')
      for (let round = 0; round < byTier({ quick: 3, ci: 20, release: 200 }); round++) {
        const [pusher, puller] = round % 2 === 0 ? [one, other] : [other, one]
        const document = await pushImage(pusher, name, `t${round}`)
        const path = `/v2/${name}/manifests/t${round}`
        assertContent(await puller.get(path), { bytes: document, digest: digestOf(document) })
        // Remembered by both from now on.
        assert.equal((await pusher.get(path)).status, 200)
        const deleted = await pusher.delete(`/v2/${name}/manifests/${digestOf(document)}`)
        assert.equal(deleted.status, 202, describe(deleted))
        assert.equal((await pusher.get(path)).status, 404)
        await until(
          async () => (await puller.get(path)).status === 404,
          KNOWN_MS,
          () => `the other instance still serves ${path}`,
        )
      }
    })

    test('an upload goes on at whichever instance its next chunk comes to', async (t) => {
      const instances = await start(t, 2)
      if (instances === undefined) return
      const { one, other } = clientsOfTwo(instances)
      const name = uniqueName('faults')
      for (let round = 0; round < byTier({ quick: 3, ci: 20, release: 200 }); round++) {
        const bytes = randomBlob(300_000)
        const upload = pathOf(await one.startUpload(name))
        let sent = 0
        for (const [client, end] of [
          [other, 100_000],
          [one, 150_000],
          [one, 200_000],
          [other, 250_000],
        ] as const) {
          const answer = await client.patchChunk(upload, bytes.subarray(sent, end), `${sent}-${end - 1}`)
          assert.equal(answer.status, 202, describe(answer))
          assert.equal(answer.header('range'), `0-${end - 1}`)
          sent = end
          // A chunk that was received is not taken a second time, at whichever instance.
          const again = await one.patchChunk(upload, bytes.subarray(0, 10), '0-9')
          assert.equal(again.status, 416, describe(again))
        }
        const digest = digestOf(bytes)
        const put = await one.request('PUT', `${upload}?digest=${digest}`, { body: bytes.subarray(sent) })
        assert.equal(put.status, 201, describe(put))
        assertContent(await other.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
        assertRefused(await other.get(upload), 404, 'BLOB_UPLOAD_UNKNOWN')
      }
    })

    test('two instances never write to one upload at the same time: the second one waits for the first', async (t) => {
      const instances = await start(t, 2)
      if (instances === undefined) return
      const { one, other } = clientsOfTwo(instances)
      const name = uniqueName('faults')
      for (let round = 0; round < byTier({ quick: 3, ci: 30, release: 300 }); round++) {
        const upload = pathOf(await one.startUpload(name))
        const chunks = [randomBlob(200_000), randomBlob(200_000)]
        const answers = await Promise.all(
          [one, other].map(async (client, number) => client.patchChunk(upload, chunks[number] ?? Buffer.alloc(0))),
        )
        assert.deepEqual(
          answers.map(({ status }) => status),
          [202, 202],
        )
        const isFirst = answers[0]?.header('range') === '0-199999'
        const bytes = Buffer.concat(isFirst ? chunks : chunks.toReversed())
        const put = await other.request('PUT', `${upload}?digest=${digestOf(bytes)}`)
        assert.equal(put.status, 201, describe(put))
      }
    })

    test('the end of an upload, sent again after its instance was killed in it, is not taken for other bytes', async (t) => {
      const instances = await start(t, 2)
      if (instances === undefined) return
      const { one, other } = clientsOfTwo(instances)
      const [name, bytes] = [uniqueName('faults'), randomBlob(64_000_000)]
      const upload = pathOf(await one.startUpload(name))
      const close = new URL(`${upload}?digest=${digestOf(bytes)}`, one.origin)
      const request = openRequest('PUT', close.href, { 'Content-Length': bytes.length })
      // More than the connection holds: the upload is claimed.
      await request.write(bytes.subarray(0, bytes.length / 2))
      await instances.registries[0]?.kill()
      const answer = await fetch(new URL(pathOf(close.href), other.origin), { method: 'PUT', body: bytes })
      const text = await answer.text()
      // In a bucket, nothing is left of what arrived: then it succeeds.
      if (answer.status !== 201) {
        assert.equal(answer.status, 503, text)
        assert.equal(answer.headers.get('retry-after'), '1')
      }
      await other.pushBlob(name, bytes)
      const wrong = await other.putBlob(await other.startUpload(name), digestOf(bytes), randomBlob())
      assertRefused(wrong, 400, 'DIGEST_INVALID')
    })

    test('the same content is pushed at all instances while each collects it: what is acknowledged is there', async (t) => {
      const maintenance = { garbagecollection: { age: '0s', interval: '200ms' }, trash: { age: '0s' } }
      const instances = await start(t, 3, { storage: { maintenance } })
      if (instances === undefined) return
      const { clients } = instances
      const blobs = [randomBlob(500), randomBlob(20_000)]
      const rounds = byTier({ quick: 2, ci: 20, release: 1_000 })
      const counts = await Promise.all(
        [...clients, ...clients].map(async (client) => pushAndDelete(client, rounds, blobs)),
      )
      const acknowledged = counts.reduce((sum, count) => sum + count, 0)
      t.diagnostic(`${acknowledged} images were acknowledged`)
      assert.ok(counts.every((count) => count > 0))
    })
  })
}
