import { randomUUID } from 'node:crypto'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { RegistryError } from '@entrepot/oci'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Logger } from '#platform/log'
import { errorBody } from './errors.ts'

/** How long a connection stays for what is still on its way; closed at once, its answer could be lost on the way back. */
const LINGER_MS = 2_000

/** RFC 3986, section 3.2.2 and 3.2.3; empty is valid too. */
const HOST = /^(?:[\w.~%!$&'()*+,;=-]*|\[[\da-f:.]+\])(?::\d*)?$/i

type ClientError = Error & { code?: string; rawPacket?: Buffer }

/** Answers what is no HTTP request as a registry does, where Node.js would do so by itself or not at all. */
export interface BrokenRequests {
  /** Follows the requests of a server, and takes over those that Node.js would refuse by itself. */
  watch(app: FastifyInstance): void
  /** Answers a connection whose bytes are no HTTP request, or do not become one in time. */
  answer(error: ClientError, socket: Socket): void
}

export function createBrokenRequests(log: Logger): BrokenRequests {
  /** The requests of each HTTP/1.1 connection that are not answered, and the last one. */
  const exchanges = new WeakMap<Socket, readonly ServerResponse[]>()
  const note = ({ socket }: IncomingMessage, response: unknown) => {
    if (!(response instanceof ServerResponse)) return
    const open = (exchanges.get(socket) ?? []).filter((earlier) => !earlier.closed)
    exchanges.set(socket, [...open, response])
  }
  return {
    watch: ({ server }) => {
      server.prependListener('request', note)
      server.on('secureConnection', readThroughStream)
      server.on('checkExpectation', (request, response) => void server.emit('request', request, response))
      server.on('connect', (_request: unknown, target: unknown) => {
        // Node.js has taken its own listener away: without one, a connection that breaks ends the process.
        if (target instanceof Duplex) target.on('error', () => {})
        if (target instanceof Socket && (exchanges.get(target) ?? []).some((earlier) => !earlier.closed)) {
          // An answer is on its way, and this one must not stand in the middle of it.
          target.destroy()
        } else {
          refuseConnect(target, log)
        }
      })
    },
    answer: (error, socket) => {
      if (error.code?.startsWith('ERR_SSL_') === true) {
        log.info({ reason: error.code, 'http.request.remoteaddr': socket.remoteAddress }, 'a TLS handshake failed')
        socket.destroy()
      } else if (error.code === 'ECONNRESET' || socket.destroyed) {
        socket.destroy()
      } else if (socket.writable) {
        void answerInOrder(error, socket, exchanges.get(socket) ?? [], log)
      }
    },
  }
}

/**
 * Where answers to a client that does not wait for them pile up, Node.js pauses its parser. Over TLS it goes on to hand
 * it what was decrypted already, takes "paused" for a broken request, and loses the bytes. With a listener for them it
 * reads them through the stream, which keeps them.
 */
function readThroughStream(socket: TLSSocket): void {
  if (socket.alpnProtocol !== 'h2') socket.on('data', () => {})
}

/**
 * Refuses what the parser lets pass and RFC 9112 does not (sections 2.3, 3.2 and 6.1), and expectations that cannot be
 * met (RFC 9110, section 10.1.1).
 * @throws RegistryError UNSUPPORTED
 */
export function checkRequestHead({ raw }: FastifyRequest): void {
  // HTTP/2 has rules of its own, and what this process asks of itself never was on a wire.
  if (!(raw instanceof IncomingMessage)) return
  const { expect = '100-continue', 'transfer-encoding': coding } = raw.headers
  if (expect.toLowerCase() !== '100-continue') throw refused(417, 'the expectation cannot be met')
  // The parser knows 0.9 and 2.0, too, though neither looks like this.
  if (raw.httpVersionMajor !== 1) throw refused(400, 'this is not a valid HTTP request: its version is not HTTP/1.1')
  const hosts = raw.headersDistinct['host'] ?? []
  const isHostMissing = hosts.length === 0 && raw.httpVersion === '1.1'
  if (isHostMissing || hosts.length > 1 || !HOST.test(hosts[0] ?? ''))
    throw refused(400, 'this is not a valid HTTP request: it needs one Host header with a host and perhaps a port')
  if (coding !== undefined && raw.httpVersion === '1.0')
    throw refused(400, 'this is not a valid HTTP request: Transfer-Encoding does not belong in HTTP/1.0')
}

function refused(status: number, problem: string): RegistryError {
  return new RegistryError('UNSUPPORTED', problem, { status, headers: { connection: 'close' } })
}

/** Answers once the requests before it are answered, so that no client takes the refusal for the answer to another. */
async function answerInOrder(
  error: ClientError,
  socket: Socket,
  exchanges: readonly ServerResponse[],
  log: Logger,
): Promise<void> {
  const last = exchanges.at(-1)
  // What is broken may be the body of a request that is known already.
  const broken = last?.req.complete === false ? last : undefined
  const isFirst = exchanges.every((response) => response.closed)
  const isHead = isFirst ? error.rawPacket?.toString('latin1', 0, 5) === 'HEAD ' : broken?.req.method === 'HEAD'
  await Promise.all(exchanges.filter((response) => response !== broken).map(closed))
  if (!socket.writable) return
  if (broken?.headersSent === true) endSoon(socket, '')
  else refuse(socket, statusOf(error), isHead, log)
}

async function closed(response: ServerResponse): Promise<void> {
  if (response.closed) return
  await new Promise((resolve) => response.once('close', resolve))
}

type Refusal = readonly [status: string, problem: string]

function statusOf(error: ClientError): Refusal {
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return ['431 Request Header Fields Too Large', 'the request line and headers are too large']
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return ['408 Request Timeout', 'the request headers did not arrive in time']
  return ['400 Bad Request', 'this is not a valid HTTP request']
}

/** Without this Node.js closes the connection in silence. */
function refuseConnect(target: unknown, log: Logger): void {
  const refusal: Refusal = ['405 Method Not Allowed', 'this is no proxy']
  if (target instanceof Socket) refuse(target, refusal, false, log)
  if (target instanceof Http2ServerResponse)
    target.writeHead(405, { 'x-request-id': noteRefusal(refusal, target.stream.session?.socket, log) }).end()
}

function refuse(socket: Socket, refusal: Refusal, isHead: boolean, log: Logger): void {
  const [status, problem] = refusal
  const body = errorBody(new RegistryError('UNSUPPORTED', problem))
  const allow = status.startsWith('405') ? 'Allow: \r\n' : ''
  endSoon(
    socket,
    `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `X-Request-Id: ${noteRefusal(refusal, socket, log)}\r\n${allow}Connection: close\r\n\r\n${isHead ? '' : body}`,
  )
}

/** Logs a refusal of what never became a request. @returns the id for its answer, under which the line is found. */
function noteRefusal([status, reason]: Refusal, socket: Socket | undefined, log: Logger): string {
  const id = randomUUID()
  const response = { 'http.response.status': Number.parseInt(status, 10), reason }
  log.info(
    { 'http.request.id': id, 'http.request.remoteaddr': socket?.remoteAddress, ...response },
    'what came is no request',
  )
  return id
}

/** Writes the last answer and lets what the client still sends pass for a moment (RFC 9112, section 9.6). */
function endSoon(socket: Socket, text: string): void {
  socket.end(text)
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
}
