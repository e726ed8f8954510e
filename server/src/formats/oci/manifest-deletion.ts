import type { Reference } from '@entrepot/oci'
import type { Purging } from '#core/cdn'
import { steadyNow } from '#platform/clock'
import type { Database } from '#platform/database'
import type { InventoryKeeper } from './inventory-keeping.ts'
import { deleteManifestRow, findParent } from './manifest-rows.ts'
import { inUse, manifestUnknown, requireRepository } from './manifests.ts'
import { manifestPath } from './paths.ts'
import { deleteTagRow, findTagsOf } from './tag-rows.ts'
import { moveManifestToTrash, moveTagToTrash } from './trash-rows.ts'

export interface ManifestDeletion {
  /** For what makes room. */
  readonly database: Database
  /** Whether what is deleted rests in the trash first. */
  readonly hasTrash: boolean
  /** What has a CDN forget it; undefined where there is none to be told. */
  readonly purging: Purging | undefined
  /** As in `ManifestDependencies`. */
  readonly inventory: InventoryKeeper | undefined
}

/**
 * Removes a tag, or a manifest with all its tags; they go into the trash, if there is one.
 * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN, UNSUPPORTED when an index needs the manifest
 */
export async function deleteManifest(
  dependencies: ManifestDeletion,
  repository: string,
  reference: Reference,
): Promise<void> {
  const { database, hasTrash, purging, inventory } = dependencies
  const deletion = { deletedAt: steadyNow(), reason: 'request' } as const
  const gone = await database.transaction(async (transaction) => {
    const repositoryId = await requireRepository(transaction, repository)
    if ('tag' in reference) {
      const { tag } = reference
      const isDeleted = hasTrash
        ? await moveTagToTrash(transaction, repositoryId, tag, deletion)
        : await deleteTagRow(transaction, repositoryId, tag)
      if (!isDeleted) throw manifestUnknown(`the repository has no tag "${tag}"`, { tag })
      await purging?.purge(transaction, [manifestPath(repository, tag)])
      return { manifests: [], tags: [tag] }
    }
    const { digest } = reference
    const parent = await findParent(transaction, repositoryId, digest)
    if (parent !== undefined) throw inUse(`the index ${parent} needs this manifest; delete that first`, parent)
    const isAsked = purging !== undefined || inventory !== undefined
    const tags = !isAsked ? [] : await findTagsOf(transaction, repositoryId, digest)
    const isDeleted = hasTrash
      ? await moveManifestToTrash(transaction, repositoryId, digest, deletion)
      : await deleteManifestRow(transaction, repositoryId, digest)
    if (!isDeleted) throw manifestUnknown(`the repository has no manifest ${digest}`, { digest })
    await purging?.purge(
      transaction,
      [digest, ...tags].map((name) => manifestPath(repository, name)),
    )
    return { manifests: [digest], tags }
  })
  await inventory?.forget(repository, gone)
}
