import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import { type AnswerHead, AnswerParser, type BodySink } from './answer-parser.ts'
import { chunkedCoding } from './payload.ts'

/** One buffer for all connections: the bytes are looked at before the next read, and stay in the processor's cache. */
const READ_BUFFER = Buffer.allocUnsafe(256 * 1024)

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH'
  /** Path and query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent with this length, or in chunked transfer coding when the length is undefined. */
  readonly body?: { readonly bytes: Iterable<Buffer>; readonly length: number | undefined }
  /** Takes the answer's body; without it the body is counted and dropped. */
  readonly onBody?: BodySink
}

/** An answer whose body has been read to its end. */
export interface HttpAnswer extends AnswerHead {
  readonly bodyBytes: number
}

/**
 * A kept-alive HTTP/1.1 connection to loopback, one request at a time. It exists because a load generator has to be
 * cheap: node:http costs several times the processor time of the bare socket, which the server under test then lacks.
 */
export class HttpConnection {
  readonly #socket: Socket
  readonly #host: string
  #parser: AnswerParser | undefined
  #settle: ((error?: Error) => void) | undefined

  static async open({ port, isSecure }: { port: number; isSecure: boolean }): Promise<HttpConnection> {
    return isSecure ? HttpConnection.#openSecurely(port) : HttpConnection.#openPlainly(port)
  }

  /** Each server has a certificate that it made itself, for this run. */
  static async #openSecurely(port: number): Promise<HttpConnection> {
    const socket = connectSecurely({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    socket.setNoDelay(true)
    const connection = new HttpConnection(socket, `127.0.0.1:${port}`)
    socket.on('data', (chunk: Buffer) => connection.#receive(chunk))
    return connection
  }

  static async #openPlainly(port: number): Promise<HttpConnection> {
    let connection: HttpConnection | undefined
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length) => {
          if (connection !== undefined) connection.#receive(READ_BUFFER.subarray(0, length))
          return true
        },
      },
    })
    await once(socket, 'connect')
    connection = new HttpConnection(socket, `127.0.0.1:${port}`)
    return connection
  }

  private constructor(socket: Socket, host: string) {
    this.#socket = socket
    this.#host = host
    socket.on('error', (error) => this.#settle?.(error))
    socket.on('close', () => this.#settle?.(new Error('the server closed the connection')))
  }

  /**
   * Sends a request and reads the answer to its end. An answer that comes before the body has been sent in full ends
   * the sending; the connection is then of no further use.
   * @throws Error when the connection breaks or the answer is no HTTP
   */
  async request(request: HttpRequest): Promise<HttpAnswer> {
    if (this.#socket.destroyed) throw new Error('the connection is closed')
    const parser = new AnswerParser(request.method, request.onBody)
    const answered = new Promise<void>((resolve, reject) => {
      this.#settle = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.#parser = parser
    if (request.body === undefined) this.#socket.write(this.#headOf(request))
    else await Promise.race([this.#send(request, request.body), answered])
    await answered
    this.#settle = undefined
    if (parser.head === undefined) throw new Error('an answer without a head')
    return { ...parser.head, bodyBytes: parser.bodyBytes }
  }

  close(): void {
    this.#socket.destroy()
  }

  async #send(request: HttpRequest, body: NonNullable<HttpRequest['body']>): Promise<void> {
    this.#socket.write(this.#headOf(request))
    const blocks = body.length === undefined ? chunkedCoding(body.bytes) : body.bytes
    for (const block of blocks) {
      if (this.#parser?.head !== undefined) return
      if (!this.#socket.write(block)) await once(this.#socket, 'drain')
    }
  }

  #headOf({ method, path, headers, body }: HttpRequest): string {
    let head = `${method} ${path} HTTP/1.1\r\nHost: ${this.#host}\r\n`
    for (const [name, value] of Object.entries(headers ?? {})) head += `${name}: ${value}\r\n`
    if (body !== undefined) {
      head += body.length === undefined ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${body.length}\r\n`
    } else if (method !== 'GET' && method !== 'HEAD') {
      head += 'Content-Length: 0\r\n'
    }
    return `${head}\r\n`
  }

  #receive(chunk: Buffer): void {
    try {
      if (this.#parser === undefined) throw new Error('an answer without a request')
      if (this.#parser.feed(chunk)) this.#settle?.()
    } catch (error) {
      this.#socket.destroy(error instanceof Error ? error : new Error(String(error)))
    }
  }
}
