import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from 'node:http2'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'

const ANSWER_TIMEOUT_MS = 30_000
const WRITE_BYTES = 65_536

/** A whole answer, and how the server ended the stream (RFC 9113, section 7). */
export interface Http2Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: Buffer
  readonly resetCode: number
}

/** Requests over one HTTP/2 connection, which ends with the test. */
export class Http2Client {
  readonly session: ClientHttp2Session

  private constructor(session: ClientHttp2Session) {
    this.session = session
  }

  /** @param certificate the file of the certificate that the server must show */
  static async connect(t: TestContext, origin: string, certificate: string): Promise<Http2Client> {
    const session = connect(origin, { ca: await readFile(certificate) })
    t.after(() => session.destroy())
    await once(session, 'connect')
    session.on('error', () => {})
    return new Http2Client(session)
  }

  /** Opens a stream; its body, if it has one, is still to be written. */
  open(method: string, path: string, headers: OutgoingHttpHeaders = {}, hasBody = false): ClientHttp2Stream {
    const stream = this.session.request({ ...headers, ':method': method, ':path': path }, { endStream: !hasBody })
    stream.setTimeout(ANSWER_TIMEOUT_MS, () => stream.destroy(new Error(`no answer to ${method} ${path}`)))
    return stream
  }

  /** Sends a request and takes the whole answer, which may come before all of the body has gone out. */
  async request(
    method: string,
    path: string,
    options: { headers?: OutgoingHttpHeaders; body?: Buffer } = {},
  ): Promise<Http2Answer> {
    const { headers, body } = options
    const stream = this.open(method, path, headers, body !== undefined)
    if (body !== undefined) Readable.from(pieces(body)).pipe(stream)
    // Not as an iterator: that takes an answer that ends the request early for a broken one.
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    const [[response]] = await Promise.all([once(stream, 'response'), once(stream, 'close')])
    const content = Buffer.concat(chunks)
    return { status: response[':status'], headers: response, body: content, resetCode: stream.rstCode }
  }
}

/** Hands a body out in small writes, so that only as much is under way as the server lets come. */
function* pieces(body: Buffer): Generator<Buffer> {
  for (let start = 0; start < body.length; start += WRITE_BYTES) yield body.subarray(start, start + WRITE_BYTES)
}
