import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection, Database, Transaction } from '#platform/database'
import type { Logger } from '#platform/log'
import { type AdoptableFile, type Adoption, BlobAdoption, type RecordContents } from './blob-adoption.ts'
import {
  deleteMembership,
  findBlobSizes,
  findRepositoriesWithBlob,
  findStoredSize,
  insertBlob,
  insertMembership,
  insertMemberships,
} from './blob-rows.ts'
import type { ContentTurns } from './content-turns.ts'
import { type ContentPolicy, Contents, type ServedContent } from './contents.ts'
import { deleteUnneeded, findUnneeded } from './garbage-rows.ts'
import type { BlobStore } from './store.ts'
import type { SourceFiles } from './uploaded-files.ts'
import type { Uploads } from './uploads.ts'

/** How many repositories are looked at for a blob that is mounted without saying from where. */
const MAX_MOUNT_CANDIDATES = 100

export interface Blobs {
  /** Whether the repository has the blob and its bytes are there in full. */
  has(repositoryId: RepositoryId, digest: Digest): Promise<boolean>
  /** The sizes of those of the digests that the repository has. */
  sizes(connection: Connection, repositoryId: RepositoryId, digests: readonly Digest[]): Promise<Map<Digest, number>>
  /**
   * Keeps a blob that nothing needed from being collected soon: whoever is told that it is there may be about to push a
   * manifest that needs it.
   */
  keep(repositoryId: RepositoryId, digest: Digest): Promise<void>
  /** Some repositories that have the blob. */
  repositoriesWith(digest: Digest): Promise<RepositoryId[]>
  /** Gives a repository a blob that is stored already. Tells whether it still is. */
  link(transaction: Transaction, repositoryId: RepositoryId, digest: Digest): Promise<boolean>
  /** Takes a blob from a repository; others keep it. Tells whether the repository had it. */
  unlink(transaction: Transaction, repositoryId: RepositoryId, digest: Digest): Promise<boolean>
  /**
   * Stores small content durably and makes it known, without giving it to a repository: that is for the work, in the same
   * transaction. Until it has ended, nobody removes the content for not being known. The work may run again.
   */
  store<Result>(digest: Digest, bytes: Uint8Array, work: (transaction: Transaction) => Promise<Result>): Promise<Result>
  /** Stores files of this machine without moving their bytes where that can be done; see `BlobAdoption.adopt`. */
  adopt(files: readonly AdoptableFile[], record: RecordContents, from?: SourceFiles): Promise<Adoption>
  /** Gives a repository content that is known, as a push does. */
  give(transaction: Transaction, repositoryId: RepositoryId, digests: readonly Digest[]): Promise<void>
  /** All bytes of small content, verified; undefined if the store has lost or damaged it. */
  load(digest: Digest, sizeBytes: number): Promise<Buffer | undefined>
  /**
   * Content of any size: small one as its bytes, anything else open for reading, to be closed by the caller; undefined if
   * the store has lost or damaged it.
   * @param isRead whether it is going to be read: what was not read yet, and is not large, is then read before.
   * @throws the store's error, where that fails.
   */
  open(digest: Digest, sizeBytes: number, isRead: boolean): Promise<Buffer | ServedContent | undefined>
  /** Reads all of the content, and moves it away when it is damaged; see `Contents.examine`. */
  examine(digest: Digest): Promise<boolean>
}

export function createBlobs(dependencies: {
  database: Database
  store: BlobStore
  contentTurns: ContentTurns
  uploads: Uploads
  log: Logger
  policy: ContentPolicy
}): Blobs {
  const { database, store, contentTurns, uploads } = dependencies

  const contents = new Contents(dependencies)
  const adoption = new BlobAdoption(dependencies)
  const put = async (digest: Digest, bytes: Uint8Array) =>
    uploads.use(async (id) => {
      try {
        // A copy: the store frees what it is given.
        await store.appendUpload(id, 0, once(Buffer.from(bytes)))
        await store.finishUpload(id, digest, bytes.byteLength)
      } catch (error) {
        await store.removeUpload(id)
        throw error
      }
    })

  return {
    has: async (repositoryId, digest) => {
      const sizes = await findBlobSizes(database.read, repositoryId, [digest])
      const sizeBytes = sizes.get(digest)
      if (sizeBytes === undefined) return false
      return contents.isWhole(digest, sizeBytes)
    },
    sizes: findBlobSizes,
    keep: async (repositoryId, digest) => {
      if ((await findUnneeded(database.read, repositoryId, [digest])).size === 0) return
      await database.transaction(async (transaction) => deleteUnneeded(transaction, { repositoryId, digest }))
    },
    repositoriesWith: async (digest) => findRepositoriesWithBlob(database.read, digest, MAX_MOUNT_CANDIDATES),
    link: async (transaction, repositoryId, digest) => {
      if ((await findStoredSize(transaction, digest)) === undefined) return false
      await insertMembership(transaction, repositoryId, digest)
      return true
    },
    unlink: deleteMembership,
    store: async (digest, bytes, work) => {
      const place = async (connection: Connection) => {
        const storedBytes = await findStoredSize(connection, digest)
        if (storedBytes !== undefined && (await contents.isRight(digest, storedBytes))) return
        await put(digest, bytes)
      }
      return contentTurns.publish(digest, place, async (transaction) => {
        await insertBlob(transaction, digest, bytes.byteLength)
        return work(transaction)
      })
    },
    adopt: async (files, record, from) => adoption.adopt(files, record, from),
    give: insertMemberships,
    load: async (digest, sizeBytes) => contents.load(digest, sizeBytes),
    open: async (digest, sizeBytes, isRead) => contents.open(digest, sizeBytes, isRead),
    examine: async (digest) => contents.examine(digest),
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}
