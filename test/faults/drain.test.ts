import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { basename, join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { test } from 'node:test'
import { type TestRegistry, freePort, startRegistry, until } from '../harness.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, describe } from '../registry-client.ts'
import { type SlowRequest, openDownload, openRequest } from './slow-request.ts'

const MEBIBYTE = 1024 * 1024
const SIZE = 20 * MEBIBYTE
const PATIENCE_MS = 10_000

test('SIGTERM lets a slow upload and a slow download end well, takes no more connections, and exits with 0', async (t) => {
  const debug = `127.0.0.1:${await freePort()}`
  const registry = await startRegistry(t, { config: { http: { debug: { addr: debug } } } })
  const client = new RegistryClient(registry.url)
  const [name, bytes] = [uniqueName('faults'), randomBlob(SIZE)]
  const waiting = connect(Number(new URL(registry.url).port), '127.0.0.1')
  waiting.write('GET /readyz HTTP/1.1\r\nHost: registry\r\n')
  const pulled = await client.pushBlob(name, randomBlob(SIZE))
  const upload = await beginUpload(registry, client, name, bytes)
  const download = await openDownload(`${registry.url}/v2/${name}/blobs/${pulled.digest}`)

  const exited = registry.stop()
  await until(
    async () => !(await isReachable(registry)),
    PATIENCE_MS,
    () => 'new connections are still taken',
  )
  waiting.write('\r\n')
  assert.match(await text(waiting), /^HTTP\/1\.1 503 [^]*"unavailable"/, 'a connection from before the signal')
  const told = await fetch(`http://${debug}/readyz`)
  assert.equal(told.status, 503)
  assert.match(await told.text(), /shutting down/, 'operators are told why')
  await upload.write(bytes.subarray(SIZE / 2))
  upload.end()
  const answer = await upload.answer
  assert.equal(answer.status, 201, answer.body.toString())
  assert.equal(digestOf(await buffer(download)), pulled.digest)
  assert.equal(await exited, 0, registry.output())

  await registry.start()
  const digest = digestOf(bytes)
  assertContent(await new RegistryClient(registry.url).get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
})

test('what is left when http.draintimeout is over is cut, the exit code is 0, and a cut upload can be resumed', async (t) => {
  const registry = await startRegistry(t, { config: { http: { draintimeout: '700ms' } } })
  const client = new RegistryClient(registry.url)
  const [name, bytes] = [uniqueName('faults'), randomBlob(SIZE)]
  const pulled = await client.pushBlob(name, randomBlob(SIZE))
  const url = await client.startUpload(name)
  const stalled = openRequest('PATCH', url, { 'Content-Length': SIZE })
  await stalled.write(bytes.subarray(0, SIZE / 2))
  await untilReceived(registry, url, SIZE / 2)
  const closing = await beginUpload(registry, client, name, randomBlob(SIZE))
  const download = await openDownload(`${registry.url}/v2/${name}/blobs/${pulled.digest}`)

  const begun = Date.now()
  assert.equal(await registry.stop(), 0, registry.output())
  const elapsedMs = Date.now() - begun
  assert.ok(elapsedMs >= 600 && elapsedMs < 5_000, `it took ${elapsedMs} ms`)
  await assert.rejects(stalled.answer)
  await assert.rejects(closing.answer)
  await assert.rejects(buffer(download))

  await registry.start()
  const again = new RegistryClient(registry.url)
  const status = await again.get(url)
  assert.equal(status.status, 204, describe(status))
  assert.equal(status.header('range'), `0-${SIZE / 2 - 1}`)
  const range = { 'Content-Range': `${SIZE / 2}-${SIZE - 1}` }
  const closed = await again.putBlob(again.location(status), digestOf(bytes), bytes.subarray(SIZE / 2), range)
  assert.equal(closed.status, 201, describe(closed))
})

/** Sends half of a blob in the request that closes its upload. */
async function beginUpload(
  registry: TestRegistry,
  client: RegistryClient,
  name: string,
  bytes: Buffer,
): Promise<SlowRequest> {
  const url = new URL(await client.startUpload(name))
  url.searchParams.append('digest', digestOf(bytes))
  const request = openRequest('PUT', url.href, { 'Content-Length': bytes.length })
  await request.write(bytes.subarray(0, bytes.length / 2))
  await untilReceived(registry, url.href, bytes.length / 2)
  return request
}

async function untilReceived(registry: TestRegistry, url: string, sizeBytes: number): Promise<void> {
  const file = join(registry.dataDirectory, 'uploads', basename(new URL(url).pathname))
  // What is less than a write is still in memory.
  const isThere = async () => (await stat(file).catch(() => undefined))?.size ?? 0
  await until(
    async () => (await isThere()) > sizeBytes - 2 * MEBIBYTE,
    PATIENCE_MS,
    () => `${url} receives nothing`,
  )
}

async function isReachable(registry: TestRegistry): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(registry.url).port), '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

test('a connection that a client keeps holds nothing up once its last answer has ended', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const { digest } = await client.pushBlob(name, randomBlob(SIZE))
  const { port, hostname } = new URL(registry.url)
  const socket = connect(Number(port), hostname)
  socket.pause()
  socket.write(`GET /v2/${name}/blobs/${digest} HTTP/1.1\r\nHost: registry\r\n\r\n`)
  await until(
    async () => /in_flight_requests\{handler="blob"\} 1$/m.test((await client.get('/metrics')).body.toString()),
    PATIENCE_MS,
    () => 'the download has not begun',
  )
  const exited = registry.stop()
  await until(
    async () => !(await isReachable(registry)),
    PATIENCE_MS,
    () => 'new connections are still taken',
  )
  const begun = Date.now()
  socket.resume()
  assert.equal(await exited, 0, registry.output())
  assert.ok(Date.now() - begun < PATIENCE_MS, `it took ${Date.now() - begun} ms, and http.draintimeout is 30 s`)
})
