import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { OutgoingHttpHeaders } from 'node:http'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders as Http2Headers,
} from 'node:http2'
import { type Answer, checked, RegistryClient, type RequestOptions } from '../registry-client.ts'

const SESSIONS = 4
/** Servers part with whoever resets streams or sends what must be overlooked more than a thousand times. */
const SESSION_REQUESTS = 500
const ANSWER_TIMEOUT_MS = 30_000
/**
 * What this library may keep for one connection, in MB. It counts what was not sent of refused bodies until the end of
 * the connection, and with 10 MB, its default, resets the third answer that refuses 4 MiB by itself.
 */
const SESSION_MEMORY = 1_000

/** The same requests over a few HTTP/2 connections, which are made anew from time to time. */
export class Http2RegistryClient extends RegistryClient {
  readonly #certificate: Buffer
  readonly #sessions: ClientHttp2Session[] = []
  readonly #opened = new Set<ClientHttp2Session>()
  #requests = 0

  /** @param certificate that the server must show, in PEM form */
  constructor(origin: string, certificate: Buffer) {
    super(origin)
    this.#certificate = certificate
  }

  override async request(method: string, target: string, options: RequestOptions = {}): Promise<Answer> {
    const path = target.startsWith('/') ? target : target.slice(new URL(target).origin.length)
    const body = typeof options.body === 'string' ? Buffer.from(options.body) : options.body
    const stream = (await this.#session()).request(
      { ...joined(options.headers), ':method': method, ':path': path },
      { endStream: body === undefined },
    )
    stream.setTimeout(ANSWER_TIMEOUT_MS, () => stream.destroy(new Error(`no answer to ${method} ${path}`)))
    const answer = readAnswer(stream)
    if (body !== undefined) stream.end(body)
    const { status, headers, content, code } = await answer
    assert.equal(code, constants.NGHTTP2_NO_ERROR, `the answer ${status} to ${method} ${path} was cut off`)
    return checked(method, `${this.origin}${path}`, { statusCode: status, headers }, content)
  }

  close(): void {
    for (const session of this.#opened) session.destroy()
  }

  async #session(): Promise<ClientHttp2Session> {
    const number = this.#requests++
    const index = number % SESSIONS
    const known = this.#sessions[index]
    const isWorn = Math.floor(number / SESSIONS) % SESSION_REQUESTS === 0
    if (known !== undefined && !isWorn && !known.closed && !known.destroyed) return known
    const session = connect(this.origin, { ca: this.#certificate, maxSessionMemory: SESSION_MEMORY })
    session.on('error', () => {})
    this.#sessions[index] = session
    // Of the one before, which may be answering still, the server makes an end when it is idle.
    this.#opened.add(session)
    session.once('close', () => this.#opened.delete(session))
    return session
  }
}

/** This library sends no line of most headers twice; joined they mean the same (RFC 9110, section 5.3). */
function joined(headers: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  )
}

async function readAnswer(stream: ClientHttp2Stream) {
  const chunks: Buffer[] = []
  let answer: Http2Headers | undefined
  stream.on('response', (headers) => void (answer = headers))
  // Not as an iterator: that takes an answer that ends the request early for a broken one.
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'close')
  if (answer === undefined) throw new Error(`the stream was closed without an answer, with code ${stream.rstCode}`)
  const { ':status': status, ...headers } = answer
  return { status: Number(status), headers, content: Buffer.concat(chunks), code: stream.rstCode }
}
