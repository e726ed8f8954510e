import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { stat } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { setImmediate as settled } from 'node:timers/promises'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { Random } from '../random.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'
import { DECAYS, fileOf } from './bit-rot.ts'
import { openDownload } from './slow-request.ts'

const MEBIBYTE = 1024 * 1024
const CLIENTS = 8

/** All of an answer's body; undefined when it was cut off. */
async function download(url: string, headers: Record<string, string> = {}): Promise<Buffer | undefined> {
  const answer = await fetch(url, { headers: { connection: 'close', ...headers } }).catch(() => undefined)
  const body = await answer?.arrayBuffer().catch(() => undefined)
  return body && Buffer.from(body)
}

const byAll = async <Result>(work: () => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: CLIENTS }, work))

test('a blob that nobody has read yet', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  /** Pushes a blob and gives where it is. */
  const push = async (sizeBytes: number) => {
    const [name, bytes] = [uniqueName('first'), randomBlob(sizeBytes)]
    const { digest } = await client.pushBlob(name, bytes)
    return { name, bytes, digest, path: `/v2/${name}/blobs/${digest}`, file: fileOf(registry.dataDirectory, digest) }
  }

  await t.test(`comes whole to ${CLIENTS} clients at once, while others go away`, async () => {
    const { bytes, path } = await push(32 * MEBIBYTE)
    const gone = openDownload(registry.url + path).then(async (answer) => {
      await once(answer, 'readable')
      answer.destroy()
    })
    for (const body of await byAll(async () => download(registry.url + path))) assert.ok(body?.equals(bytes))
    await gone
  })

  await t.test(`comes whole to none of ${CLIENTS} clients at once when it is damaged`, async () => {
    const { path, file, digest } = await push(8 * MEBIBYTE)
    await DECAYS['flipped']?.(file, new Random(digest))
    const bodies = await byAll(async () => download(registry.url + path))
    // Who came late was told that it is not there.
    assert.ok(bodies.every((body) => body === undefined || body.includes('BLOB_UNKNOWN')))
    assert.equal((await client.get(path)).status, 404)
  })

  await t.test('is not cut off when the same content is pushed again while it is sent', async () => {
    const { name, bytes, path, file } = await push(32 * MEBIBYTE)
    const before = await stat(file)
    const answer = await openDownload(registry.url + path)
    await once(answer, 'readable')
    await client.pushBlob(name, bytes)
    assert.notEqual((await stat(file)).ino, before.ino)
    assert.ok((await buffer(answer)).equals(bytes))
  })

  await t.test('is cut off when somebody writes to its file while it is sent', async () => {
    const { path, file, digest } = await push(32 * MEBIBYTE)
    const answer = await openDownload(registry.url + path)
    await once(answer, 'readable')
    await DECAYS['flipped']?.(file, new Random(digest))
    await assert.rejects(buffer(answer))
  })

  await t.test('is cut off in a part of at least half of it when it is damaged', async () => {
    const { path, file, digest } = await push(8 * MEBIBYTE)
    await DECAYS['flipped']?.(file, new Random(digest))
    assert.equal(await download(registry.url + path, { range: `bytes=${4 * MEBIBYTE}-` }), undefined)
    assert.equal((await client.head(path)).status, 404)
  })

  await t.test('leaves its connection to the next request', async () => {
    const { bytes, path, digest } = await push(3 * MEBIBYTE)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    const sockets = new Set()
    for (let turn = 0; turn < 3; turn++) {
      const outgoing = request(registry.url + path, { agent }).end()
      const [incoming] = await once(outgoing, 'response')
      sockets.add(incoming.socket)
      assert.equal(digestOf(await buffer(incoming)), digest)
      await settled()
    }
    assert.equal(sockets.size, 1)
    assertContent(await client.get(path), { bytes, digest })
  })

  await t.test('is not read for HEAD', async () => {
    const { path, file, digest } = await push(3 * MEBIBYTE)
    await DECAYS['flipped']?.(file, new Random(digest))
    assert.equal((await client.head(path)).status, 200)
    assert.equal(await download(registry.url + path), undefined)
    const isGone = async () => (await client.head(path)).status === 404
    await until(isGone, 10_000, () => registry.output())
  })

  await t.test('does not keep the server from ending', async () => assert.equal(await registry.stop(), 0))
})
