import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'
import type { RepositoryId } from '#core/repositories'
import type { Connection, Database, Transaction } from '#platform/database'
import type { Logger } from '#platform/log'
import {
  deleteMembership,
  findBlobSizes,
  findRepositoriesWithBlob,
  findStoredSize,
  insertBlob,
  insertMembership,
} from './blob-rows.ts'
import { digestOf } from './content-hash.ts'
import type { BlobStore } from './store.ts'

/** How many repositories are looked at for a blob that is mounted without saying from where. */
const MAX_MOUNT_CANDIDATES = 100

/** How much small content is kept in memory, and how large a piece of it may be. */
const CACHE_SIZE_BYTES = 32 * 1024 * 1024
const MAX_CACHED_BYTES = 1024 * 1024

/** A blob that a repository has. */
export interface BlobContent {
  readonly sizeBytes: number
  /** Its bytes from `start` up to and including `end`; the stream fails if the store lost them meanwhile. */
  read(start: number, end: number): Readable
}

export interface Blobs {
  /** The blob, if the repository has it and its bytes are there in full. */
  find(repositoryId: RepositoryId, digest: Digest): Promise<BlobContent | undefined>
  /** The sizes of those of the digests that the repository has. */
  sizes(connection: Connection, repositoryId: RepositoryId, digests: readonly Digest[]): Promise<Map<Digest, number>>
  /** Some repositories that have the blob. */
  repositoriesWith(digest: Digest): Promise<RepositoryId[]>
  /** Gives a repository a blob that is stored already. */
  link(transaction: Transaction, repositoryId: RepositoryId, digest: Digest): Promise<void>
  /** Takes a blob from a repository; others keep it. Tells whether the repository had it. */
  unlink(transaction: Transaction, repositoryId: RepositoryId, digest: Digest): Promise<boolean>
  /** Stores small content durably, without giving it to a repository; `record` then makes it known. */
  store(digest: Digest, bytes: Uint8Array): Promise<void>
  /** Notes that content was stored. */
  record(transaction: Transaction, digest: Digest, sizeBytes: number): Promise<void>
  /** All bytes of small content, verified; undefined if the store has lost or damaged it. */
  load(digest: Digest, sizeBytes: number): Promise<Buffer | undefined>
}

export function createBlobs(dependencies: { database: Database; store: BlobStore; log: Logger }): Blobs {
  const { database, store, log } = dependencies

  /** Verified content by digest: it never changes, so that what is here is right whatever happens to the store. */
  const cache = new LRUCache<Digest, Buffer>({
    maxSize: CACHE_SIZE_BYTES,
    maxEntrySize: MAX_CACHED_BYTES,
    sizeCalculation: (bytes) => Math.max(1, bytes.byteLength),
  })

  const loadVerified = async (digest: Digest, sizeBytes: number): Promise<Buffer | undefined> => {
    if ((await store.size(digest)) !== sizeBytes) return undefined
    const bytes = sizeBytes === 0 ? Buffer.alloc(0) : await buffer(store.read(digest, 0, sizeBytes - 1))
    return digestOf(digestAlgorithm(digest), bytes) === digest ? bytes : undefined
  }

  return {
    find: async (repositoryId, digest) => {
      const sizes = await findBlobSizes(database.read, repositoryId, [digest])
      const sizeBytes = sizes.get(digest)
      if (sizeBytes === undefined) return undefined
      const storedBytes = await store.size(digest)
      if (storedBytes !== sizeBytes) {
        // Absent is the honest answer: a client that has the content then pushes it again, which mends it.
        log.error({ digest, sizeBytes, storedBytes }, 'a blob is missing or damaged in the store')
        return undefined
      }
      return { sizeBytes, read: (start, end) => store.read(digest, start, end) }
    },
    sizes: findBlobSizes,
    repositoriesWith: async (digest) => findRepositoriesWithBlob(database.read, digest, MAX_MOUNT_CANDIDATES),
    link: insertMembership,
    unlink: deleteMembership,
    store: async (digest, bytes) => {
      const storedBytes = await findStoredSize(database.read, digest)
      if (storedBytes !== undefined && (await loadVerified(digest, storedBytes)) !== undefined) return
      const id = randomUUID()
      try {
        await store.appendUpload(id, 0, once(bytes))
        await store.finishUpload(id, digest, bytes.byteLength)
      } catch (error) {
        await store.removeUpload(id)
        throw error
      }
    },
    record: insertBlob,
    load: async (digest, sizeBytes) => {
      const cached = cache.get(digest)
      if (cached !== undefined) return cached
      const bytes = await loadVerified(digest, sizeBytes)
      if (bytes === undefined) log.error({ digest }, 'content is missing or damaged in the store')
      else cache.set(digest, bytes)
      return bytes
    },
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}
