const HEAD_END = Buffer.from('\r\n\r\n')
const LINE_END = 0x0a
const NO_BYTES = Buffer.alloc(0)

/** The head of an HTTP/1.1 answer. Header names are in lower case; several lines of one are joined by a comma. */
export interface AnswerHead {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
}

/** Takes the pieces of a body, without the transfer coding. The buffer is only valid during the call. */
export type BodySink = (piece: Buffer) => void

/**
 * Reads one HTTP/1.1 answer from the pieces that the network gives (RFC 9112): it understands bodies with a
 * Content-Length and in chunked transfer coding, no trailers and no bodies that end with the connection.
 */
export class AnswerParser {
  readonly #hasBody: boolean
  readonly #sink: BodySink | undefined
  #head: AnswerHead | undefined
  #bodyBytes = 0
  /** Bytes of a head or of a chunk's size line that arrived in part. */
  #pending: Buffer = NO_BYTES
  /** Bytes that are still missing of the body, or of the present chunk with its line end. */
  #missingBytes = 0
  #state: 'head' | 'body' | 'chunk-size' | 'chunk' | 'last-line' | 'done' = 'head'

  /** @param method the request's; an answer to HEAD has no body */
  constructor(method: string, sink?: BodySink) {
    this.#hasBody = method !== 'HEAD'
    this.#sink = sink
  }

  get head(): AnswerHead | undefined {
    return this.#head
  }

  /** Bytes of the body so far, without the transfer coding. */
  get bodyBytes(): number {
    return this.#bodyBytes
  }

  /**
   * Takes the next bytes.
   * @returns true when the answer is complete
   * @throws Error when this is no HTTP/1.1 answer, or when bytes follow its end
   */
  feed(chunk: Buffer): boolean {
    let rest = chunk
    while (rest.length > 0 && this.#state !== 'done') rest = this.#step(rest)
    if (rest.length > 0) throw new Error(`${rest.length} bytes follow the end of an answer`)
    return this.#state === 'done'
  }

  #step(rest: Buffer): Buffer {
    switch (this.#state) {
      case 'head':
        return this.#readHead(rest)
      case 'body':
        return this.#readBody(rest)
      case 'chunk':
        return this.#readChunk(rest)
      case 'chunk-size':
      case 'last-line':
        return this.#readLine(rest)
      default:
        return rest
    }
  }

  #readHead(rest: Buffer): Buffer {
    const all = this.#pending.length === 0 ? rest : Buffer.concat([this.#pending, rest])
    const end = all.indexOf(HEAD_END)
    if (end < 0) return this.#keep(all)
    this.#pending = NO_BYTES
    const head = parseHead(all.toString('latin1', 0, end))
    this.#head = head
    const isChunked = head.headers.get('transfer-encoding') === 'chunked'
    this.#missingBytes = Number(head.headers.get('content-length') ?? 0)
    if (!this.#hasBody || head.status === 204 || head.status === 304) this.#state = 'done'
    else if (isChunked) this.#state = 'chunk-size'
    else this.#state = this.#missingBytes === 0 ? 'done' : 'body'
    return all.subarray(end + HEAD_END.length)
  }

  #readBody(rest: Buffer): Buffer {
    const piece = rest.subarray(0, this.#missingBytes)
    this.#give(piece)
    this.#missingBytes -= piece.length
    if (this.#missingBytes === 0) this.#state = 'done'
    return rest.subarray(piece.length)
  }

  #readChunk(rest: Buffer): Buffer {
    const lineEndBytes = 2
    const piece = rest.subarray(0, Math.max(this.#missingBytes - lineEndBytes, 0))
    if (piece.length > 0) this.#give(piece)
    const taken = Math.min(rest.length, this.#missingBytes)
    this.#missingBytes -= taken
    if (this.#missingBytes === 0) this.#state = 'chunk-size'
    return rest.subarray(taken)
  }

  #readLine(rest: Buffer): Buffer {
    const all = this.#pending.length === 0 ? rest : Buffer.concat([this.#pending, rest])
    const end = all.indexOf(LINE_END)
    if (end < 0) return this.#keep(all)
    this.#pending = NO_BYTES
    if (this.#state === 'last-line') {
      this.#state = 'done'
    } else {
      const size = Number.parseInt(all.toString('latin1', 0, end), 16)
      if (Number.isNaN(size)) throw new Error('a chunk without a size')
      this.#missingBytes = size + 2
      this.#state = size === 0 ? 'last-line' : 'chunk'
    }
    return all.subarray(end + 1)
  }

  #give(piece: Buffer): void {
    this.#bodyBytes += piece.length
    this.#sink?.(piece)
  }

  /** Copies bytes that wait for more: the reader reuses its buffer. */
  #keep(bytes: Buffer): Buffer {
    this.#pending = Buffer.from(bytes)
    return NO_BYTES
  }
}

function parseHead(text: string): AnswerHead {
  const [statusLine, ...lines] = text.split('\r\n')
  const status = /^HTTP\/1\.1 (\d{3})/.exec(statusLine ?? '')?.[1]
  if (status === undefined) throw new Error(`no HTTP/1.1 answer: ${statusLine}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return { status: Number(status), headers }
}
