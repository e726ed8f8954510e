import { randomUUID } from 'node:crypto'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { ContentHash } from './content-hash.ts'
import type { BlobStore, Hashing, StoredContent } from './store.ts'

const READ_SIZE_BYTES = 1024 * 1024
/** Contents that are looked up in a store at once. */
const LOOKED_UP = 16

/** Content by its digest, with its size. */
export interface Content {
  readonly digest: Digest
  readonly sizeBytes: number
}

/** Where content is copied from. */
export interface ContentSource {
  /** Undefined if there is none. Whoever opens it closes it. */
  open(digest: Digest): Promise<Pick<StoredContent, 'sizeBytes' | 'read' | 'close'> | undefined>
}

/** Compares bytes with a digest on their way. */
export interface ContentComparison extends Hashing {
  /** Whether what went through was the content, and nothing more. */
  isRight(): Promise<boolean>
}

/** Where content is copied to. */
export interface ContentTarget {
  /** The sizes in bytes of those of the digests, in their order, that are there in full. */
  sizes(digests: readonly Digest[]): Promise<Map<Digest, number>>
  /**
   * Keeps bytes under a digest, durably, if they are right.
   * @param comparison gets all of them.
   * @returns whether they were; otherwise nothing is kept.
   */
  write(content: Content, chunks: AsyncIterable<Uint8Array>, comparison: ContentComparison): Promise<boolean>
}

/**
 * Copies content, durably, and compares it with its digest on its way.
 * @returns what became of it: the source may have none, or a damaged one, and then the target has none either.
 * @throws the error of the side that fails.
 */
export async function copyContent(
  from: ContentSource,
  to: ContentTarget,
  content: Content,
): Promise<'copied' | 'absent' | 'damaged'> {
  const { digest, sizeBytes } = content
  const opened = await from.open(digest)
  if (opened === undefined) return 'absent'
  try {
    const hash = new ContentHash(digestAlgorithm(digest))
    const comparison: ContentComparison = {
      update: async (chunks) => hash.update(chunks),
      write: async (chunks, place) => hash.write(chunks, place),
      isRight: async () => hash.sizeBytes === sizeBytes && (await hash.digest()) === digest,
    }
    return (await to.write(content, bytesOf(opened), comparison)) ? 'copied' : 'damaged'
  } finally {
    await opened.close()
  }
}

/** A store as the target of copies. */
export function targetOf(store: BlobStore): ContentTarget {
  return {
    sizes: async (digests) => {
      const sizes = new Map<Digest, number>()
      for (let first = 0; first < digests.length; first += LOOKED_UP) {
        const look = async (digest: Digest) => {
          const size = await store.size(digest)
          if (size !== undefined) sizes.set(digest, size)
        }
        await Promise.all(digests.slice(first, first + LOOKED_UP).map(look))
      }
      return sizes
    },
    write: async ({ digest, sizeBytes }, chunks, comparison) => {
      const id = randomUUID()
      try {
        await store.appendUpload(id, 0, chunks, comparison)
        if (await comparison.isRight()) {
          await store.finishUpload(id, digest, sizeBytes)
          return true
        }
      } catch (error) {
        await store.removeUpload(id)
        throw error
      }
      await store.removeUpload(id)
      return false
    },
  }
}

async function* bytesOf(content: Pick<StoredContent, 'sizeBytes' | 'read'>): AsyncGenerator<Uint8Array> {
  let position = 0
  while (position < content.sizeBytes) {
    // Another one each time: whoever takes it may free its memory.
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE_BYTES, content.sizeBytes - position))
    const length = await content.read(buffer, position)
    if (length === 0) return
    yield buffer.subarray(0, length)
    position += length
  }
}
