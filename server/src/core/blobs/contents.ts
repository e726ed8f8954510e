import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'
import type { Logger } from '#platform/log'
import { digestOf } from './content-hash.ts'
import type { BlobStore, StoredContent } from './store.ts'

/** How much small content is kept in memory, and how large a piece of it may be. */
const CACHE_SIZE_BYTES = 32 * 1024 * 1024
const MAX_CACHED_BYTES = 1024 * 1024
/** Blobs up to this size are served from memory. */
const MAX_SMALL_BYTES = 256 * 1024

/**
 * Reads what the store has. Small content is verified when it is first read, and then kept in memory: it never changes,
 * so that what is there is right whatever happens to the store.
 * Absent is the honest answer for what is damaged: a client that has the content then pushes it again, which mends it.
 */
export class Contents {
  readonly #store: BlobStore
  readonly #log: Logger
  readonly #verified = new LRUCache<Digest, Buffer>({
    maxSize: CACHE_SIZE_BYTES,
    maxEntrySize: MAX_CACHED_BYTES,
    sizeCalculation: (bytes) => Math.max(1, bytes.byteLength),
  })

  constructor(store: BlobStore, log: Logger) {
    this.#store = store
    this.#log = log
  }

  /** All bytes of small content, verified; undefined if the store has lost or damaged it. */
  async load(digest: Digest, sizeBytes: number): Promise<Buffer | undefined> {
    const known = this.#verified.get(digest)
    if (known !== undefined) return known
    const bytes = await this.#readVerified(digest, sizeBytes)
    if (bytes === undefined) this.#noteDamage(digest)
    else this.#verified.set(digest, bytes)
    return bytes
  }

  /** Small content as its bytes, anything else open for reading; undefined if the store has lost or damaged it. */
  async open(digest: Digest, sizeBytes: number): Promise<Buffer | StoredContent | undefined> {
    if (sizeBytes <= MAX_SMALL_BYTES) return this.load(digest, sizeBytes)
    const content = await this.#openWhole(digest, sizeBytes)
    if (content === undefined) this.#noteDamage(digest)
    return content
  }

  /** Whether the store has the content in its full size. */
  async isWhole(digest: Digest, sizeBytes: number): Promise<boolean> {
    const isWhole = (await this.#store.size(digest)) === sizeBytes
    if (!isWhole) this.#noteDamage(digest)
    return isWhole
  }

  /** Whether the store has the content, byte for byte. */
  async isRight(digest: Digest, sizeBytes: number): Promise<boolean> {
    return (await this.#readVerified(digest, sizeBytes)) !== undefined
  }

  async #openWhole(digest: Digest, sizeBytes: number): Promise<StoredContent | undefined> {
    const content = await this.#store.open(digest)
    if (content?.sizeBytes === sizeBytes) return content
    await content?.close()
    return undefined
  }

  async #readVerified(digest: Digest, sizeBytes: number): Promise<Buffer | undefined> {
    const content = await this.#openWhole(digest, sizeBytes)
    if (content === undefined) return undefined
    try {
      const bytes = await readAll(content)
      return digestOf(digestAlgorithm(digest), bytes) === digest ? bytes : undefined
    } finally {
      await content.close()
    }
  }

  #noteDamage(digest: Digest): void {
    this.#log.error({ digest }, 'content is missing or damaged in the store')
  }
}

async function readAll(content: StoredContent): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(content.sizeBytes)
  let position = 0
  while (position < bytes.byteLength) {
    const length = await content.read(bytes.subarray(position), position)
    if (length === 0) break
    position += length
  }
  return bytes.subarray(0, position)
}
