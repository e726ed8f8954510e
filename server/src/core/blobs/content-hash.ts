import { createHash, type Hash } from 'node:crypto'
import type { Digest, DigestAlgorithm } from '@entrepot/oci'
import { findHashThread, type HashThread } from './hash-thread.ts'
import { type FilePlace, writeChunks } from './write-chunks.ts'

/** What begins with less is hashed at once: going to a thread and back would take longer. */
const MIN_THREAD_BYTES = 128 * 1024

/** The digest of bytes that are at hand. */
export function digestOf(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** Where a digest is in the making: here, or in a thread under a number. */
type Place = { readonly hash: Hash } | { readonly thread: HashThread; readonly key: number }

/** A digest in the making; reading it does not end it, so that an upload can go on after a failed attempt. */
export class ContentHash {
  readonly algorithm: DigestAlgorithm
  /** Undefined before the first bytes. */
  #place: Place | undefined
  #sizeBytes = 0

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm
  }

  /** How many bytes were given to it. */
  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Whether it can go on: a thread that ended takes what it knew with it. */
  get isUsable(): boolean {
    return this.#place === undefined || 'hash' in this.#place || this.#place.thread.isAlive
  }

  /**
   * Takes the next bytes, in the order of the calls, which need not wait for each other.
   * @returns the same bytes: their memory may have moved, so that what was given must not be used any more.
   */
  async update(chunks: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    const place = this.#placeFor(chunks)
    if ('hash' in place) {
      for (const chunk of chunks) place.hash.update(chunk)
      return chunks
    }
    const buffers = await place.thread.update(place.key, toBuffers(chunks))
    return buffers.map((buffer) => new Uint8Array(buffer))
  }

  /**
   * Takes the next bytes, as `update` does, writes them to a file, and frees their memory.
   * @throws what the file system says: the file then has less than what was hashed.
   */
  async write(chunks: readonly Uint8Array[], target: FilePlace): Promise<void> {
    const place = this.#placeFor(chunks)
    if ('thread' in place) return place.thread.write(place.key, toBuffers(chunks), target)
    for (const chunk of chunks) place.hash.update(chunk)
    await writeChunks(chunks, target)
  }

  /** The same digest in the making once more: what one is given later the other does not know. */
  copy(): ContentHash {
    const copy = new ContentHash(this.algorithm)
    copy.#sizeBytes = this.#sizeBytes
    const place = this.#place
    if (place === undefined) return copy
    copy.#place =
      'hash' in place ? { hash: place.hash.copy() } : { thread: place.thread, key: place.thread.begin(copy, place.key) }
    return copy
  }

  async digest(): Promise<Digest> {
    const place = this.#place ?? { hash: createHash(this.algorithm) }
    const hex = 'hash' in place ? place.hash.copy().digest('hex') : await place.thread.digest(place.key)
    return `${this.algorithm}:${hex}`
  }

  /** Counts the next bytes; with the first ones it is decided where they are hashed. */
  #placeFor(chunks: readonly Uint8Array[]): Place {
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
    this.#sizeBytes += sizeBytes
    return (this.#place ??= this.#choosePlace(sizeBytes))
  }

  #choosePlace(firstBytes: number): Place {
    const thread = firstBytes < MIN_THREAD_BYTES ? undefined : findHashThread()
    if (thread === undefined) return { hash: createHash(this.algorithm) }
    return { thread, key: thread.begin(this, this.algorithm) }
  }
}

/** The chunks as memory that can be handed over whole: those that share theirs with others are copied together. */
function toBuffers(chunks: readonly Uint8Array[]): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = []
  let shared: Uint8Array[] = []
  const copyShared = () => {
    if (shared.length > 0) buffers.push(joined(shared))
    shared = []
  }
  for (const chunk of chunks) {
    const { buffer } = chunk
    if (buffer instanceof ArrayBuffer && chunk.byteLength === buffer.byteLength) {
      copyShared()
      buffers.push(buffer)
    } else {
      shared.push(chunk)
    }
  }
  copyShared()
  return buffers
}

function joined(chunks: readonly Uint8Array[]): ArrayBuffer {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0))
  let position = 0
  for (const chunk of chunks) {
    bytes.set(chunk, position)
    position += chunk.byteLength
  }
  return bytes.buffer
}
