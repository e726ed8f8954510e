import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { AnswerParser } from '../../bench/client/answer-parser.ts'
import { chunkedCoding } from '../../bench/client/payload.ts'
import { type Answer, checked, describe } from '../registry-client.ts'

const ANSWER_TIMEOUT_MS = 30_000
const METHODS_WITH_LENGTH = new Set(['POST', 'PUT', 'PATCH'])

/** What a client adds to a request of its own. */
export interface GoRequest {
  /** Whole header lines, in the order in which the client sends them. */
  readonly headers?: readonly string[]
  readonly body?: Buffer | undefined
  /** Sends the body in chunked transfer coding, in the pieces of 32 KiB that Go's io.Copy makes. */
  readonly isStreamed?: boolean
}

/**
 * A client that puts the very bytes on the wire that a program with Go's net/http does, as all clients here are:
 * `Host`, `User-Agent`, the length or the coding of the body, the program's own headers in alphabetical order,
 * `Accept-Encoding: gzip` (except for HEAD, for a part, and where the program names its own), `Connection: close` where
 * the program keeps no connections.
 * What must hold for every answer is asserted for each, and so is what becomes of the connection.
 */
export class GoClient {
  readonly #origin: string
  readonly #userAgent: string
  readonly #isKeptAlive: boolean
  #kept: Connection | undefined

  constructor(t: TestContext, origin: string, options: { userAgent: string; isKeptAlive: boolean }) {
    this.#origin = origin
    this.#userAgent = options.userAgent
    this.#isKeptAlive = options.isKeptAlive
    t.after(() => this.#kept?.destroy())
  }

  /** @param target path and query, sent as they stand */
  async send(method: string, target: string, request: GoRequest = {}): Promise<Answer> {
    const connection = this.#kept ?? (await Connection.open(this.#origin))
    if (this.#isKeptAlive) this.#kept = connection
    await connection.write(this.#bytesOf(method, target, request))
    const answer = await connection.readAnswer(method, this.#origin + target)
    assert.equal(answer.header('connection'), this.#isKeptAlive ? 'keep-alive' : 'close', describe(answer))
    if (!this.#isKeptAlive) await connection.assertEnded()
    return answer
  }

  /** Sends a request with this much of its body, and breaks the connection. */
  async cutOffUpload(method: string, target: string, request: GoRequest & { body: Buffer; sentBytes: number }) {
    const connection = await Connection.open(this.#origin)
    const bytes = this.#bytesOf(method, target, request)
    await connection.write(bytes.subarray(0, bytes.length - request.body.length + request.sentBytes))
    connection.destroy()
  }

  /** Reads this much of an answer's body, and breaks the connection. */
  async cutOffDownload(target: string, request: GoRequest & { readBytes: number }): Promise<Buffer> {
    const connection = await Connection.open(this.#origin)
    await connection.write(this.#bytesOf('GET', target, request))
    const part = await connection.readPart(request.readBytes)
    connection.destroy()
    return part
  }

  #bytesOf(method: string, target: string, { headers = [], body, isStreamed = false }: GoRequest): Buffer {
    const names = headers.map((line) => line.slice(0, line.indexOf(':')))
    const isPlain = method !== 'HEAD' && !names.includes('Range') && !names.includes('Accept-Encoding')
    const lines = [
      `${method} ${target} HTTP/1.1`,
      `Host: ${new URL(this.#origin).host}`,
      `User-Agent: ${this.#userAgent}`,
    ]
    if (isStreamed) lines.push('Transfer-Encoding: chunked')
    else if (body !== undefined || METHODS_WITH_LENGTH.has(method)) lines.push(`Content-Length: ${body?.length ?? 0}`)
    lines.push(...headers)
    if (isPlain) lines.push('Accept-Encoding: gzip')
    if (!this.#isKeptAlive) lines.push('Connection: close')
    const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
    const content = body ?? Buffer.alloc(0)
    return Buffer.concat([head, ...(isStreamed ? chunkedCoding([content]) : [content])])
  }
}

/** Path and query of the `Location` that an upload is to go on at; asserts all that clients need of such an answer. */
export function uploadTarget(answer: Answer): string {
  assert.equal(answer.status, 202, describe(answer))
  assert.ok(answer.header('docker-upload-uuid'), 'Docker-Upload-UUID')
  assert.ok(uploadedEnd(answer) >= 0, 'Range')
  return targetOf(answer, answer.header('location'))
}

/** The last byte that an upload's `Range` names, read as clients read it: by `%d-%d`. */
export function uploadedEnd(answer: Answer): number {
  const [, start, end] = /^(\d+)-(\d+)$/.exec(answer.header('range') ?? '') ?? []
  assert.equal(start, '0', `Range: ${answer.header('range')}`)
  return Number(end)
}

/** Path and query that a reference in an answer leads to; asserts that it stays with the registry. */
export function targetOf(answer: Answer, reference: string | undefined): string {
  assert.ok(reference, `${describe(answer)} leads nowhere`)
  const url = new URL(reference, answer.url)
  assert.equal(url.origin, new URL(answer.url).origin)
  return url.pathname + url.search
}

/** Sets parameters beside those that a target has, and encodes all in alphabetical order (Go's url.Values). */
export function withQuery(target: string, parameters: Record<string, string>): string {
  const url = new URL(target, 'http://localhost')
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  url.searchParams.sort()
  return url.pathname + url.search
}

/** One TCP connection. */
class Connection {
  readonly #socket: Socket
  readonly #incoming: AsyncIterator<Buffer>

  static async open(origin: string): Promise<Connection> {
    const { hostname, port } = new URL(origin)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    return new Connection(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#incoming = socket[Symbol.asyncIterator]()
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error('no answer')))
    // Whoever reads gets the error as well.
    socket.on('error', () => {})
  }

  async write(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }

  /** Reads one answer to its end; throws when the connection ends before it, or when more follows. */
  async readAnswer(method: string, url: string): Promise<Answer> {
    const pieces: Buffer[] = []
    const parser = new AnswerParser(method, (piece) => void pieces.push(piece))
    while (!parser.feed(await this.#read()));
    assert.ok(parser.head)
    const { status, headers } = parser.head
    return checked(method, url, { statusCode: status, headers: Object.fromEntries(headers) }, Buffer.concat(pieces))
  }

  /** The first bytes of the body of an answer. */
  async readPart(bytes: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    const parser = new AnswerParser('GET', (piece) => void pieces.push(piece))
    while (parser.bodyBytes < bytes) parser.feed(await this.#read())
    return Buffer.concat(pieces).subarray(0, bytes)
  }

  /** Asserts that the server ends the connection and says nothing more. */
  async assertEnded(): Promise<void> {
    assert.equal((await this.#incoming.next()).done, true, 'bytes follow an answer that is the last one')
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async #read(): Promise<Buffer> {
    const read = await this.#incoming.next()
    if (read.done === true) throw new Error('the server closed the connection before it had answered')
    return read.value
  }
}
