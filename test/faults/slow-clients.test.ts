import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { residentMebibytesOf } from '../../bench/servers/process-tree.ts'
import { startRegistry, until } from '../harness.ts'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { openDownload, openRequest } from './slow-request.ts'

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE
const TIMEOUT_MS = 1_000
/** The timeout, and a few seconds for a busy machine and for a server that looks every two seconds. */
const CUT_WITHIN_MS = 8_000
const LIMITS = { limits: { headertimeout: `${TIMEOUT_MS}ms`, bodyidletimeout: `${TIMEOUT_MS}ms` } }

test('slow and hostile clients', { concurrency: 4 }, async (t) => {
  const registry = await startRegistry(t, { config: LIMITS })
  const client = new RegistryClient(registry.url)
  const connectTo = () => connect(Number(new URL(registry.url).port), '127.0.0.1')

  void t.test(
    'headers that drip are cut after limits.headertimeout, and so is a connection that says nothing',
    async () => {
      const begun = Date.now()
      const [dripping, silent] = [connectTo(), connectTo()]
      const answer = text(dripping)
      await Promise.all([drip(dripping, 'GET /v2/ HTTP/1.1\r\nHost: registry\r\nX-Slow: ', 50), text(silent)])
      assert.match(await answer, /^HTTP\/1\.1 408 /)
      const elapsedMs = Date.now() - begun
      assert.ok(elapsedMs >= TIMEOUT_MS - 50 && elapsedMs < CUT_WITHIN_MS, `it took ${elapsedMs} ms`)
    },
  )

  void t.test(
    'a chunk that stalls is cut after limits.bodyidletimeout, and the upload goes on from what was received',
    async () => {
      const [name, bytes] = [uniqueName('faults'), randomBlob(3 * MEBIBYTE)]
      const url = await client.startUpload(name)
      const received = 2 * MEBIBYTE + 12_345
      const stalled = openRequest('PATCH', url, { 'Content-Length': bytes.length })
      await stalled.write(bytes.subarray(0, received))
      await assertCutInTime(stalled.answer)
      const status = await client.get(url)
      assert.equal(status.status, 204, describe(status))
      assert.equal(status.header('range'), `0-${received - 1}`)
      const rest = await client.patchChunk(
        client.location(status),
        bytes.subarray(received),
        `${received}-${bytes.length - 1}`,
      )
      assert.equal(rest.status, 202, describe(rest))
      const closed = await client.putBlob(client.location(rest), digestOf(bytes))
      assert.equal(closed.status, 201, describe(closed))
      assertContent(await client.get(client.location(closed)), { bytes, digest: digestOf(bytes) })
    },
  )

  void t.test('a manifest that stalls is cut after limits.bodyidletimeout and is not there', async () => {
    const name = uniqueName('faults')
    const config = await client.pushBlob(name)
    const bytes = imageDocument(config, [])
    const url = `${registry.url}/v2/${name}/manifests/stalled`
    const stalled = openRequest('PUT', url, { 'Content-Type': mediaTypes.image, 'Content-Length': bytes.length })
    await stalled.write(bytes.subarray(0, 20))
    await assertCutInTime(stalled.answer)
    assertRefused(await client.get(`/v2/${name}/manifests/stalled`), 404)
  })

  void t.test('a body that is slow but never stalls is taken, however long it needs', async () => {
    const [name, bytes] = [uniqueName('faults'), randomBlob(10 * KIBIBYTE)]
    const url = new URL(await client.startUpload(name))
    url.searchParams.append('digest', digestOf(bytes))
    const slow = openRequest('PUT', url.href, { 'Content-Length': bytes.length })
    await slow.drip(bytes, { pieceBytes: KIBIBYTE, pauseMs: 300 })
    assert.equal((await slow.answer).status, 201)
    assertContent(await client.get(`/v2/${name}/blobs/${digestOf(bytes)}`), { bytes, digest: digestOf(bytes) })
  })
})

test('200 slow clients do not keep others waiting', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const uploads = await Promise.all(Array.from({ length: 100 }, async () => client.startUpload(name)))
  const requests = uploads.map((url) => openRequest('PATCH', url, { 'Content-Length': MEBIBYTE }))
  const sockets = Array.from({ length: 100 }, () => connect(Number(new URL(registry.url).port), '127.0.0.1'))
  const isOver = new AbortController()
  t.after(() => {
    isOver.abort()
    for (const request of requests) request.abort()
    for (const socket of sockets) socket.destroy()
  })
  const dripping = [
    ...requests.map(async (request) => {
      while (!isOver.signal.aborted) {
        await request.write(randomBlob(100))
        await sleep(100)
      }
    }),
    ...sockets.map(async (socket) => drip(socket, `GET /v2/ HTTP/1.1\r\n${'X-Slow: 1\r\n'.repeat(1_000)}`, 100)),
  ]
  const dripped = Promise.allSettled(dripping)
  for (let round = 0; round < 20; round += 1) {
    const begun = Date.now()
    const answer = await client.get('/healthz')
    assert.equal(answer.status, 200, describe(answer))
    assert.ok(Date.now() - begun < 1_000, `/healthz took ${Date.now() - begun} ms`)
    await sleep(50)
  }
  isOver.abort()
  for (const socket of sockets) socket.destroy()
  await dripped
})

test('clients that go away in the middle of a download, or an upload, leak no file descriptor', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const { digest } = await client.pushBlob(name, randomBlob(8 * MEBIBYTE))
  const target = `${registry.url}/v2/${name}/blobs/uploads/?digest=${unknownDigest()}`
  const countDescriptors = async () => (await readdir(`/proc/${registry.pid()}/fd`)).length
  const abortAll = async (clients: number) => {
    for (let done = 0; done < clients; done += 10) {
      await Promise.all(
        Array.from({ length: 10 }, async () => {
          const download = await openDownload(`${registry.url}/v2/${name}/blobs/${digest}`)
          await once(download, 'readable')
          download.destroy()
          const upload = openRequest('POST', target, { 'Content-Length': MEBIBYTE })
          await upload.write(randomBlob(KIBIBYTE))
          upload.abort()
        }),
      )
    }
  }
  await abortAll(10)
  // The connections that the client keeps, and what is opened once.
  const allowed = (await countDescriptors()) + 5
  await abortAll(100)
  let open = 0
  const isSettled = async () => (open = await countDescriptors()) <= allowed
  await until(isSettled, 5_000, () => `${open} descriptors are open, at most ${allowed} were expected`)
})

test('a client that reads slowly does not make the server hold the blob in memory', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const [name, bytes] = [uniqueName('faults'), randomBlob(48 * MEBIBYTE)]
  const { digest } = await client.pushBlob(name, bytes)
  const before = residentMebibytesOf(registry.pid())
  const downloads = await Promise.all(
    Array.from({ length: 6 }, async () => openDownload(`${registry.url}/v2/${name}/blobs/${digest}`)),
  )
  t.after(() => downloads.map((download) => download.destroy()))
  let peak = 0
  for (let look = 0; look < 15; look += 1) {
    await sleep(100)
    peak = Math.max(peak, residentMebibytesOf(registry.pid()))
  }
  assert.ok(peak - before < 96, `it grew from ${before} MiB to ${peak} MiB for 6 downloads of 48 MiB that nobody reads`)
  const [first] = downloads
  assert.ok(first !== undefined)
  assert.equal(digestOf(await buffer(first)), digest)
})

test('a client that reads none of its answers is cut, however small they are', async (t) => {
  const registry = await startRegistry(t, { config: LIMITS })
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const { digest } = await client.pushBlob(name, randomBlob(200 * KIBIBYTE))
  const { port, hostname } = new URL(registry.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.pause()
  // More than the buffers of both kernels hold.
  socket.write(`GET /v2/${name}/blobs/${digest} HTTP/1.1\r\nHost: registry\r\n\r\n`.repeat(200))
  const begun = Date.now()
  await until(
    async () => /in_flight_requests\{handler="blob"\} 0$/m.test((await client.get('/metrics')).body.toString()),
    4 * TIMEOUT_MS + CUT_WITHIN_MS,
    () => 'the answers are still held for a client that reads none',
  )
  assert.ok(Date.now() - begun > TIMEOUT_MS, 'it was cut at once')
  socket.destroy()
})

test('a client that reads slowly, but does not pause, gets all of a blob', async (t) => {
  for (const sendfile of [true, false]) {
    const registry = await startRegistry(t, { config: { ...LIMITS, http: { sendfile } } })
    const client = new RegistryClient(registry.url)
    const [name, bytes] = [uniqueName('faults'), randomBlob(16 * MEBIBYTE)]
    const { digest } = await client.pushBlob(name, bytes)
    const download = await openDownload(`${registry.url}/v2/${name}/blobs/${digest}`)
    const chunks: Buffer[] = []
    // Longer than any timeout, at a pace at which a buffer of the kernel takes seconds to be free.
    for (const until = Date.now() + 7 * TIMEOUT_MS; Date.now() < until; await sleep(50)) {
      const chunk: unknown = download.read(48 * KIBIBYTE)
      if (chunk instanceof Buffer) chunks.push(chunk)
    }
    chunks.push(await buffer(download))
    assert.equal(digestOf(Buffer.concat(chunks)), digest, `sendfile: ${sendfile}`)
  }
})

test('bodies that come byte by byte need no more memory than others', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const bytes = 200_000
  const before = residentMebibytesOf(registry.pid())
  const sockets = await Promise.all(
    Array.from({ length: 15 }, async () => {
      const url = new URL(await client.startUpload(name))
      const socket = connect(Number(url.port), url.hostname)
      socket.write(`PATCH ${url.pathname} HTTP/1.1\r\nHost: registry\r\nTransfer-Encoding: chunked\r\n\r\n`)
      socket.write('1\r\nX\r\n'.repeat(bytes))
      return { socket, url }
    }),
  )
  t.after(() => sockets.map(({ socket }) => socket.destroy()))
  await sleep(1_500)
  const grown = residentMebibytesOf(registry.pid()) - before
  assert.ok(grown < 300, `15 times ${bytes} bytes made it grow by ${grown} MiB`)
  // All of it arrived, and none is lost when the clients go away.
  for (const { socket, url } of sockets) {
    socket.destroy()
    let status = await client.get(url.href)
    const isWritten = async () => (status = await client.get(url.href)).status !== 429
    await until(isWritten, CUT_WITHIN_MS, () => describe(status))
    assert.equal(status.header('range'), `0-${bytes - 1}`, describe(status))
  }
})

/** Sends a byte at a time until all is sent or the other side has had enough. */
async function drip(socket: Socket, bytes: string, pauseMs: number): Promise<void> {
  socket.on('error', () => {})
  for (const byte of bytes.repeat(10)) {
    if (socket.closed || !socket.writable) return
    socket.write(byte)
    await sleep(pauseMs)
  }
}

async function assertCutInTime(answer: Promise<unknown>): Promise<void> {
  const begun = Date.now()
  await assert.rejects(answer)
  const elapsedMs = Date.now() - begun
  assert.ok(elapsedMs >= TIMEOUT_MS - 50 && elapsedMs < CUT_WITHIN_MS, `it was cut after ${elapsedMs} ms`)
}
