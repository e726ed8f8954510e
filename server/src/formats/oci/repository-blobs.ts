import { type Digest, RegistryError } from '@entrepot/oci'
import type { Blobs, ServedContent } from '#core/blobs'
import type { Purging } from '#core/cdn'
import { ensureRepository, findRepositoryId, findRepositoryName } from '#core/repositories'
import { type Database, ReadCache } from '#platform/database'
import { findParent } from './manifest-rows.ts'
import { inUse, requireRepository } from './manifests.ts'
import { blobPaths } from './paths.ts'

interface BlobDependencies {
  readonly database: Database
  readonly blobs: Blobs
}

/** A blob that a repository has. */
export interface ServedBlob {
  readonly sizeBytes: number
  /** Its bytes, or what must be read, and closed. */
  readonly content: Buffer | ServedContent
}

/** Reads blobs of repositories. */
export class BlobReader {
  readonly #database: Database
  readonly #blobs: Blobs
  readonly #remembered: ReadCache<{ readonly sizeBytes: number }>

  constructor(dependencies: BlobDependencies) {
    this.#database = dependencies.database
    this.#blobs = dependencies.blobs
    this.#remembered = new ReadCache(dependencies.database)
  }

  /**
   * @param isRead whether its content is going to be read.
   * @throws RegistryError NAME_UNKNOWN, BLOB_UNKNOWN
   */
  async get(repository: string, digest: Digest, isRead: boolean): Promise<ServedBlob> {
    const found = await this.#remembered.get(`${repository}@${digest}`, async () => {
      const connection = this.#database.read
      const repositoryId = await requireRepository(connection, repository)
      await this.#blobs.keep(repositoryId, digest)
      const sizeBytes = (await this.#blobs.sizes(connection, repositoryId, [digest])).get(digest)
      return sizeBytes === undefined ? undefined : { sizeBytes }
    })
    const content = found === undefined ? undefined : await this.#blobs.open(digest, found.sizeBytes, isRead)
    if (found === undefined || content === undefined) throw blobUnknown(repository, digest)
    return { sizeBytes: found.sizeBytes, content }
  }
}

/**
 * Gives a repository a blob of another one, without moving bytes (distribution-spec, "Mounting a blob").
 * @param mount.from the other repository; undefined looks in all of them.
 * @param mount.mayPull whether the caller may read from a repository: a digest alone is no right to its content.
 * @returns whether it was found; if not, nothing has changed.
 */
export async function mountBlob(
  dependencies: BlobDependencies,
  repository: string,
  mount: { digest: Digest; from: string | undefined; mayPull: (repository: string) => boolean },
): Promise<boolean> {
  const { database, blobs } = dependencies
  const sources =
    mount.from === undefined
      ? await blobs.repositoriesWith(mount.digest)
      : [await findRepositoryId(database.read, mount.from)]
  for (const source of sources) {
    if (source === undefined) continue
    const name = mount.from ?? (await findRepositoryName(database.read, source))
    if (name === undefined || !mount.mayPull(name)) continue
    if (!(await blobs.has(source, mount.digest))) continue
    return database.transaction(async (transaction) =>
      blobs.link(transaction, await ensureRepository(transaction, repository), mount.digest),
    )
  }
  return false
}

/**
 * Takes a blob from a repository; other repositories keep it.
 * @throws RegistryError NAME_UNKNOWN, BLOB_UNKNOWN, UNSUPPORTED when a manifest needs it
 */
export async function deleteBlob(
  dependencies: BlobDependencies & { readonly purging: Purging | undefined },
  repository: string,
  digest: Digest,
): Promise<void> {
  await dependencies.database.transaction(async (transaction) => {
    const repositoryId = await requireRepository(transaction, repository)
    const parent = await findParent(transaction, repositoryId, digest)
    if (parent !== undefined) throw inUse(`the manifest ${parent} needs this blob; delete that first`, parent)
    if (!(await dependencies.blobs.unlink(transaction, repositoryId, digest))) throw blobUnknown(repository, digest)
    await dependencies.purging?.purge(transaction, blobPaths(repository, digest))
  })
}

function blobUnknown(repository: string, digest: Digest): RegistryError {
  return new RegistryError('BLOB_UNKNOWN', `the repository "${repository}" has no blob ${digest}`, {
    detail: { digest },
  })
}
