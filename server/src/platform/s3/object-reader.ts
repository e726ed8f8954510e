import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bucket } from './bucket.ts'
import { ObjectStoreError } from './bucket-error.ts'

/** A read that breaks goes on where it was, so often, after a pause that grows and varies. */
const MAX_ATTEMPTS = 3
const PAUSE_MS = 200
/** How long the store may send nothing while somebody waits for its bytes. */
const IDLE_MS = 10_000

/** The object that is to be read: another one under the same key is refused. */
export interface ReadObject {
  readonly key: string
  readonly sizeBytes: number
  readonly etag: string
}

/** An answer of the store on its way. */
interface Stream {
  readonly body: Readable
  readonly chunks: AsyncIterator<Buffer>
  rest: Buffer
  position: number
  /** The first byte after those that were asked for. */
  readonly limit: number
}

/** Reads an object, one piece after the other out of one answer of the store; another position asks it anew. */
export class ObjectReader {
  readonly #bucket: Bucket
  readonly #object: ReadObject
  #stream: Stream | undefined

  constructor(bucket: Bucket, object: ReadObject) {
    this.#bucket = bucket
    this.#object = object
  }

  /**
   * Fills the target from a position on. One read at a time.
   * @param end the last byte that will be asked for, as far as that is known.
   * @returns the number of bytes: as many as fit before the end; 0 where the object ends.
   * @throws ObjectStoreError when the store cannot give them, also after it was asked again.
   */
  async read(target: Uint8Array, position: number, end = this.#object.sizeBytes - 1): Promise<number> {
    let filled = 0
    let attempt = 1
    const length = Math.min(target.byteLength, this.#object.sizeBytes - position)
    while (filled < length) {
      try {
        const at = position + filled
        const stream = await this.#streamAt(at, Math.max(end, position + length - 1))
        filled += await take(stream, target.subarray(filled, length))
        attempt = 1
      } catch (error) {
        this.close()
        if (attempt++ >= MAX_ATTEMPTS || (error instanceof ObjectStoreError && error.isGone)) {
          throw error instanceof ObjectStoreError ? error : new ObjectStoreError(this.#bucket.name, error)
        }
        await sleep(PAUSE_MS * attempt * (0.5 + Math.random()))
      }
    }
    return filled
  }

  /** Lets go of the answer on its way. */
  close(): void {
    this.#stream?.body.destroy()
    this.#stream = undefined
  }

  async #streamAt(position: number, end: number): Promise<Stream> {
    const known = this.#stream
    if (known?.position === position && position < known.limit) return known
    this.close()
    const { key, sizeBytes, etag } = this.#object
    const last = Math.min(end, sizeBytes - 1)
    const body = await this.#bucket.get(key, { start: position, end: last }, etag)
    // Without a listener an answer that breaks while nobody reads would end the process.
    body.on('error', () => {})
    const chunks: AsyncIterator<Buffer> = body[Symbol.asyncIterator]()
    this.#stream = { body, chunks, rest: Buffer.alloc(0), position, limit: last + 1 }
    return this.#stream
  }
}

/** Moves what the store has sent into the target; gives the number of bytes, at least one. */
async function take(stream: Stream, target: Uint8Array): Promise<number> {
  if (stream.rest.byteLength === 0) stream.rest = await nextChunk(stream)
  const taken = stream.rest.subarray(0, target.byteLength)
  target.set(taken)
  stream.rest = stream.rest.subarray(taken.byteLength)
  stream.position += taken.byteLength
  return taken.byteLength
}

async function nextChunk({ body, chunks, position }: Stream): Promise<Buffer> {
  const timer = setTimeout(() => body.destroy(new Error(`nothing came for ${IDLE_MS} ms`)), IDLE_MS)
  try {
    const { done, value } = await chunks.next()
    if (done === true) throw new Error(`the answer ended at byte ${position}`)
    return value
  } finally {
    clearTimeout(timer)
  }
}
