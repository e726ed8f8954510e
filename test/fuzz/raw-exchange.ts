import { connect, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import { type Answer, checked } from '../registry-client.ts'

/** Bytes for a connection of their own, as no HTTP library would send them. */
export interface RawExchange {
  /** Written one after the other; whatever the server says to one is waited for only in the end. */
  readonly pieces: readonly Buffer[]
  /**
   * What the client does then: `wait` for the server to close, `finish` its side as a client that gave up half way, or
   * `reset` the connection at once.
   */
  readonly ending: 'wait' | 'finish' | 'reset'
  /** The methods of the requests within, in order; GET where there are more answers. */
  readonly methods: readonly string[]
  /** Whether an answer must come, which a request that was cut off need not get. */
  readonly isAnswered: boolean
}

/** Where bytes are sent: `certificate`, in PEM form, is the one that a server must show that speaks TLS. */
export interface Destination {
  readonly origin: string
  readonly certificate: Buffer | undefined
}

/** The bytes that came back until the connection was closed; throws when it is not closed in time. */
export async function exchange(
  destination: Destination,
  raw: RawExchange,
  clock: { limitMs: number; now: () => number },
): Promise<Buffer> {
  const { hostname, port } = new URL(destination.origin)
  const line = connect({ port: Number(port), host: hostname, allowHalfOpen: true, noDelay: true })
  const socket = destination.certificate === undefined ? line : secured(line, destination.certificate)
  const chunks: Buffer[] = []
  const closed = Promise.withResolvers<void>()
  socket.on('data', (chunk: Buffer) => void chunks.push(chunk))
  // A server that refuses may close while the client is still sending; what counts is what came until then.
  socket.on('error', () => {})
  socket.on('end', () => socket.destroy())
  socket.on('close', () => closed.resolve())
  for (const piece of raw.pieces) {
    await new Promise<void>((resolve) => {
      socket.write(piece, () => resolve())
      socket.once('close', () => resolve())
    })
  }
  if (raw.ending === 'reset') line.resetAndDestroy()
  if (raw.ending === 'finish') socket.end()
  const end = clock.now()
  const timer = setInterval(() => {
    if (clock.now() - end > clock.limitMs) socket.destroy()
  }, 20)
  await closed.promise
  clearInterval(timer)
  if (clock.now() - end > clock.limitMs) {
    const received = JSON.stringify(Buffer.concat(chunks).toString('latin1', 0, 500))
    throw new Error(`the connection was still open after ${clock.limitMs} ms; received: ${received}`)
  }
  return Buffer.concat(chunks)
}

/** TLS over a connection, with HTTP/1.1 within. */
function secured(line: Socket, ca: Buffer): Socket {
  line.on('error', () => {})
  return connectSecurely({ socket: line, ca, host: '127.0.0.1', ALPNProtocols: ['http/1.1'] })
}

/** Splits what came back into answers; throws where it is not HTTP/1.1, or an answer is not whole. */
export function readAnswers(origin: string, bytes: Buffer, methods: readonly string[]): Answer[] {
  const answers: Answer[] = []
  for (let rest = bytes; rest.length > 0;) {
    const method = methods[answers.length] ?? 'GET'
    const { status, headers, length, body } = readAnswer(rest, method)
    rest = rest.subarray(length)
    // 100 Continue only says that the real answer will follow.
    if (status >= 200) answers.push(checked(method, `${origin} (raw)`, { statusCode: status, headers }, body))
  }
  return answers
}

interface ReadAnswer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: Buffer
  /** The bytes of all of it. */
  readonly length: number
}

function readAnswer(bytes: Buffer, method: string): ReadAnswer {
  const headEnd = bytes.indexOf('\r\n\r\n')
  const lines = bytes.toString('latin1', 0, Math.max(0, headEnd)).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(lines[0] ?? '')?.[1])
  if (headEnd < 0 || Number.isNaN(status)) throw broken('does not begin as an answer does', bytes)
  const headers: Record<string, string> = {}
  for (const line of lines.slice(1)) {
    const [, name = '', value = ''] = /^([\w-]+): ?(.*)$/.exec(line) ?? []
    if (name === '') throw broken(`has the header line ${JSON.stringify(line)}`, bytes)
    headers[name.toLowerCase()] = value
  }
  const bodyStart = headEnd + 4
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304)
    return { status, headers, body: Buffer.alloc(0), length: bodyStart }
  if (headers['transfer-encoding'] === 'chunked') {
    const { body, length } = readChunks(bytes.subarray(bodyStart))
    return { status, headers, body, length: bodyStart + length }
  }
  const length = Number(headers['content-length'])
  const body = bytes.subarray(bodyStart, bodyStart + length)
  if (body.length !== length) throw broken(`has not the ${headers['content-length']} bytes that it says`, bytes)
  return { status, headers, body, length: bodyStart + length }
}

function readChunks(bytes: Buffer): { body: Buffer; length: number } {
  const chunks: Buffer[] = []
  for (let position = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', position)
    const size = Number.parseInt(bytes.toString('latin1', position, lineEnd), 16)
    const end = lineEnd + 2 + size
    if (lineEnd < 0 || Number.isNaN(size) || bytes.toString('latin1', end, end + 2) !== '\r\n')
      throw broken('has broken chunks', bytes)
    if (size === 0) return { body: Buffer.concat(chunks), length: end + 2 }
    chunks.push(bytes.subarray(lineEnd + 2, end))
    position = end + 2
  }
}

function broken(problem: string, bytes: Buffer): Error {
  return new Error(`what came back ${problem}: ${JSON.stringify(bytes.toString('latin1', 0, 1000))}`)
}
