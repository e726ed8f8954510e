import { type Digest, type Manifest, RegistryError } from '@entrepot/oci'
import type { AdoptableFile, Adoption, RecordContents, SourceFiles } from '#core/blobs'
import { ensureRepository, findRepositoryId, type RepositoryId } from '#core/repositories'
import type { Connection, Transaction } from '#platform/database'
import { checkChildren, checkUrls } from './manifest-checks.ts'
import { findManifest, findManifests } from './manifest-rows.ts'
import { type ManifestDependencies, recordManifest } from './manifests.ts'
import { findTag, putTags } from './tag-rows.ts'
import { forgetPushed } from './trash-rows.ts'
import { deleteUntagged } from './untagged-rows.ts'

/** A manifest that was read, and the file with its bytes. */
export interface ReadManifest extends AdoptableFile {
  readonly manifest: Manifest
}

/** A manifest that was refused, and why. */
export interface RefusedManifest {
  readonly digest: Digest
  readonly message: string
}

/** What became of a tag: it stands for something else here and was left so, or there is no such manifest. */
export type TagOutcome = 'put' | 'same' | 'kept' | 'unknown'

/**
 * Gives a repository blobs out of files; what is refused is told.
 * @param from what reads the files, where they are not files of this machine.
 */
export async function importBlobs(
  { blobs }: ManifestDependencies,
  repository: string,
  files: readonly AdoptableFile[],
  from?: SourceFiles,
): Promise<Adoption> {
  const record: RecordContents = async (transaction, sizes) => {
    if (sizes.size > 0)
      await blobs.give(transaction, await ensureRepository(transaction, repository), [...sizes.keys()])
  }
  return blobs.adopt(files, record, from)
}

/** Those of the digests that are manifests of the repository. */
export async function findImported(
  { database }: ManifestDependencies,
  repository: string,
  digests: readonly Digest[],
): Promise<Set<Digest>> {
  const repositoryId = await findRepositoryId(database.read, repository)
  if (repositoryId === undefined) return new Set()
  return new Set((await findManifests(database.read, repositoryId, digests)).keys())
}

/** Gives a repository manifests out of files, without tags, under the rules of a push. None of them lists another one. */
export async function importManifests(
  dependencies: ManifestDependencies,
  repository: string,
  manifests: readonly ReadManifest[],
  from?: SourceFiles,
): Promise<{ adoption: Adoption; imported: number; refused: RefusedManifest[] }> {
  const { database, blobs, policy } = dependencies
  const refused = new Map<Digest, string>()
  const check = async (connection: Connection, { digest, manifest }: ReadManifest, repositoryId?: RepositoryId) => {
    try {
      checkUrls(manifest, policy)
      return await checkChildren({ connection, blobs, repositoryId }, manifest, policy)
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      refused.set(digest, error.message)
      return undefined
    }
  }
  // Before anything is stored, so that a refused manifest leaves no trace; once more where nothing can change.
  const known = await findRepositoryId(database.read, repository)
  for (const manifest of manifests) await check(database.read, manifest, known)
  const accepted = manifests.filter(({ digest }) => !refused.has(digest))
  const imported = new Set<Digest>()
  const record: RecordContents = async (transaction, sizes) => {
    const repositoryId = await ensureRepository(transaction, repository)
    for (const read of accepted) {
      const { digest, manifest } = read
      const sizeBytes = sizes.get(digest)
      if (sizeBytes === undefined) continue
      refused.delete(digest)
      const children = await check(transaction, read, repositoryId)
      if (children === undefined) continue
      await recordManifest(transaction, repositoryId, { digest, sizeBytes, manifest, children, tags: [] })
      imported.add(digest)
    }
  }
  const adoption = await blobs.adopt(accepted, record, from)
  await dependencies.inventory?.settle(repository, { manifests: [...imported], tags: [] })
  return { adoption, imported: imported.size, refused: [...refused].map(([digest, message]) => ({ digest, message })) }
}

/**
 * Lets tags stand for manifests of a repository.
 * @param isUpdating whether a tag that stands for something else follows; otherwise it stays.
 */
export async function importTags(
  { database, inventory }: ManifestDependencies,
  repository: string,
  { tags, isUpdating }: { tags: ReadonlyMap<string, Digest>; isUpdating: boolean },
): Promise<Map<string, TagOutcome>> {
  const outcomes = await database.transaction(async (transaction) => {
    const outcomes = new Map<string, TagOutcome>()
    const repositoryId = await findRepositoryId(transaction, repository)
    for (const [tag, digest] of tags) {
      const isThere =
        repositoryId !== undefined && (await findManifest(transaction, repositoryId, digest)) !== undefined
      const current = repositoryId === undefined ? undefined : await findTag(transaction, repositoryId, tag)
      if (repositoryId === undefined || !isThere) outcomes.set(tag, 'unknown')
      else if (current === digest) outcomes.set(tag, 'same')
      else if (current !== undefined && !isUpdating) outcomes.set(tag, 'kept')
      else {
        await putTag(transaction, repositoryId, { tag, digest })
        outcomes.set(tag, 'put')
      }
    }
    return outcomes
  })
  const put = [...outcomes].filter(([, outcome]) => outcome === 'put').map(([tag]) => tag)
  await inventory?.settle(repository, { manifests: [], tags: put })
  return outcomes
}

async function putTag(
  transaction: Transaction,
  repositoryId: RepositoryId,
  { tag, digest }: { tag: string; digest: Digest },
): Promise<void> {
  await putTags(transaction, repositoryId, [tag], digest)
  await forgetPushed(transaction, repositoryId, digest, [tag])
  await deleteUntagged(transaction, repositoryId, [digest])
}
