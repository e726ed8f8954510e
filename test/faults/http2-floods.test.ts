import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { residentMebibytesOf } from '../../bench/servers/process-tree.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { createCertificate } from '../operations/certificates.ts'
import { temporaryFolder } from '../operations/command.ts'
import { Http2Client } from '../operations/http2-client.ts'
import { bombBlock, FLAG, FRAME, frame, headerBlock, PREFACE, requestBlock, windowSetting } from './http2-frames.ts'
import { startProbe } from './probe.ts'
import { byTier } from './tier.ts'

const MEBIBYTE = 1024 * 1024
const FLOOD_MS = byTier({ quick: 500, ci: 3_000, release: 60_000 })
/** How long a server may take to part with a client. */
const PATIENCE_MS = 20_000
const CONNECTIONS = 4
/** How much is written in one piece. */
const PIECE_BYTES = 64 * 1024
const MAX_GROWTH_MIB = 128
/** The quick tier runs beside many other tests, the CI tier beside another one. */
const MAX_HEALTH_MS = byTier({ quick: 3_000, ci: 2_000, release: 1_000 })
const BLOB_BYTES = 24 * MEBIBYTE
const CANCEL = Buffer.from([0, 0, 0, 8])

/** Gives what a connection sends next; each begins anew. */
type Frames = (paths: { blob: string }) => () => Buffer

interface Flood {
  readonly title: string
  readonly frames: Frames
  /** Whether the client reads what it is answered. */
  readonly isReading: boolean
  /** Whether the server must part with such a client. */
  readonly isCut: boolean
}

const same = (bytes: Buffer): Frames => {
  const piece = Buffer.concat(Array.from({ length: Math.ceil(PIECE_BYTES / bytes.length) }, () => bytes))
  return () => () => piece
}

/** The same for each stream, one after the other. */
const streams =
  (framesOf: (stream: number, paths: { blob: string }) => readonly Buffer[], perPiece = 200): Frames =>
  (paths) => {
    let stream = -1
    return () => Buffer.concat(Array.from({ length: perPiece }, () => framesOf((stream += 2), paths)).flat())
  }

const request = (stream: number, path: string, flags: number = FLAG.endStream | FLAG.endHeaders) =>
  frame(FRAME.headers, flags, stream, requestBlock('GET', path))

/** Headers that do not end. */
const endless: Frames = () => {
  let isBegun = false
  const more = frame(FRAME.continuation, 0, 1, headerBlock('x-more', 'y'.repeat(10_000)))
  return () => {
    const begin = isBegun ? [] : [request(1, '/v2/', FLAG.endStream)]
    isBegun = true
    return Buffer.concat([...begin, more, more, more, more])
  }
}

/** 4 KB that become 48 MB. */
const bomb = (stream: number) => [
  frame(FRAME.headers, FLAG.endStream | FLAG.endHeaders, stream, bombBlock(3_900, 12_000)),
]

const FLOODS: readonly Flood[] = [
  { title: 'settings, read', frames: same(frame(FRAME.settings, 0, 0)), isReading: true, isCut: false },
  { title: 'settings, unread', frames: same(frame(FRAME.settings, 0, 0)), isReading: false, isCut: true },
  { title: 'pings, read', frames: same(frame(FRAME.ping, 0, 0, Buffer.alloc(8))), isReading: true, isCut: false },
  { title: 'pings, unread', frames: same(frame(FRAME.ping, 0, 0, Buffer.alloc(8))), isReading: false, isCut: true },
  {
    title: 'requests that are reset at once',
    frames: streams((stream, { blob }) => [request(stream, blob), frame(FRAME.reset, 0, stream, CANCEL)]),
    isReading: true,
    isCut: true,
  },
  {
    title: 'requests that the server is made to reset',
    frames: streams((stream, { blob }) => [
      request(stream, blob),
      frame(FRAME.windowUpdate, 0, stream, Buffer.alloc(4)),
    ]),
    isReading: true,
    isCut: true,
  },
  { title: 'headers without an end', frames: endless, isReading: true, isCut: true },
  { title: 'headers that grow when they are read', frames: streams(bomb, 4), isReading: true, isCut: false },
  {
    title: 'empty pieces of a body',
    frames: () => {
      let isBegun = false
      const empty = Buffer.concat(Array.from({ length: 5_000 }, () => frame(FRAME.data, 0, 1)))
      return () => {
        const begin = isBegun
          ? []
          : [frame(FRAME.headers, FLAG.endHeaders, 1, requestBlock('POST', '/v2/faults/floods/blobs/uploads/'))]
        isBegun = true
        return Buffer.concat([...begin, empty])
      }
    },
    isReading: true,
    isCut: true,
  },
  {
    title: 'priorities',
    frames: streams((stream) => [frame(FRAME.priority, 0, stream, Buffer.from([0, 0, 0, 0, 15]))], 4_000),
    isReading: true,
    isCut: false,
  },
  {
    title: 'downloads for which the client leaves no room',
    frames: ({ blob }) => {
      const next = streams((stream) => [request(stream, blob)], 50)({ blob })
      return () => Buffer.concat([windowSetting(0), next()])
    },
    isReading: false,
    isCut: false,
  },
  { title: 'bytes that are no frames', frames: () => () => randomBlob(PIECE_BYTES), isReading: true, isCut: true },
]

test('floods of frames in HTTP/2 neither end the server, nor fill its memory, nor keep others waiting', async (t) => {
  const certificate = await createCertificate(await temporaryFolder(t), 'server')
  const registry = await startRegistry(t, {
    scheme: 'https',
    config: { log: { level: 'warn' }, http: { tls: certificate } },
  })
  const client = await Http2Client.connect(t, registry.url, certificate.certificate)
  const bytes = randomBlob(BLOB_BYTES)
  const name = uniqueName('faults')
  const pushed = await client.request('POST', `/v2/${name}/blobs/uploads/?digest=${digestOf(bytes)}`, { body: bytes })
  assert.equal(pushed.status, 201, pushed.body.toString())
  const blob = `/v2/${name}/blobs/${digestOf(bytes)}`
  const pid = registry.pid()
  for (const flood of FLOODS) {
    await t.test(flood.title, async (t) => {
      const probe = await startProbe(t, `${registry.url}/healthz`, { certificate: certificate.certificate })
      const before = residentMebibytesOf(pid)
      let peak = before
      const watching = setInterval(() => (peak = Math.max(peak, residentMebibytesOf(pid))), 50)
      t.after(() => clearInterval(watching))
      const floods = Array.from({ length: CONNECTIONS }, async () =>
        floodOften(registry, flood, () => flood.frames({ blob })),
      )
      const counts = await Promise.all(floods)
      const health = await probe()
      const pulled = await client.request('GET', blob)
      assert.equal(digestOf(pulled.body), digestOf(bytes))
      const sum = (count: 'sentBytes' | 'cuts') => counts.reduce((total, one) => total + one[count], 0)
      t.diagnostic(
        `${Math.round(sum('sentBytes') / MEBIBYTE)} MiB sent, ${sum('cuts')} connections cut; health p99 ` +
          `${health.calmP99Ms} ms of ${health.count} (a bare server ${health.controlP99Ms} ms); ` +
          `${Math.round(before)} MiB before, ${Math.round(peak)} at most`,
      )
      assert.ok(health.calmP99Ms <= MAX_HEALTH_MS, `health took ${health.calmP99Ms} ms`)
      assert.ok(peak - before <= MAX_GROWTH_MIB, `memory grew from ${before} to ${peak} MiB`)
      if (flood.isCut) assert.ok(sum('cuts') > 0, 'the server does not part with such a client')
    })
  }
  assert.equal(registry.pid(), pid)
  assert.doesNotMatch(registry.output(), /a request failed/)
})

/**
 * Floods until the time is over, on a new connection whenever the server has ended one; where it must end one, until it
 * has.
 */
async function floodOften(
  registry: TestRegistry,
  flood: Flood,
  begin: () => () => Buffer,
): Promise<{ sentBytes: number; cuts: number }> {
  const begun = performance.now()
  const leftMs = () => (flood.isCut && cuts === 0 ? PATIENCE_MS : FLOOD_MS) - (performance.now() - begun)
  let [sentBytes, cuts] = [0, 0]
  while (leftMs() > 0) {
    const { port, hostname } = new URL(registry.url)
    // Whoever floods does not look whom it talks to.
    const socket = connect({ port: Number(port), host: hostname, ALPNProtocols: ['h2'], rejectUnauthorized: false })
    socket.on('error', () => {})
    const closed = new Promise((resolve) => void socket.once('close', resolve))
    const timer = setTimeout(() => socket.destroy(), leftMs())
    if (flood.isReading) socket.resume()
    await Promise.race([new Promise((resolve) => void socket.once('secureConnect', resolve)), closed])
    socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
    const next = begin()
    while (!socket.destroyed) {
      const piece = next()
      sentBytes += piece.length
      if (!socket.write(piece)) {
        await Promise.race([new Promise((resolve) => void socket.once('drain', resolve)), closed])
      }
    }
    await closed
    clearTimeout(timer)
    if (leftMs() > 0) cuts += 1
  }
  return { sentBytes, cuts }
}
