import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '@entrepot/oci'
import { findRepositoryName, type RepositoryId } from '#core/repositories'
import { steadyNow } from '#platform/clock'
import type { Connection } from '#platform/database'
import type { ManifestDeletion } from './manifest-deletion.ts'
import { deleteManifestRow } from './manifest-rows.ts'
import { manifestPath } from './paths.ts'
import { moveManifestToTrash } from './trash-rows.ts'
import {
  deleteUntagged,
  findNotedUntagged,
  findUntagged,
  insertUntagged,
  listManifestKeys,
  listNotedUntagged,
  type ManifestKey,
} from './untagged-rows.ts'

/** Manifests looked at, and deleted, in one step; between steps others get their turn. */
const LOOK_SIZE = 500
const DELETE_SIZE = 100
const PAUSE_MS = 5

/** A manifest that went, or would go. */
interface UntaggedManifest {
  readonly repository: string
  readonly digest: Digest
}

export interface UntaggedOptions {
  /** How long a manifest stays without a tag. */
  readonly ageMs: number
  /** Only tells what would be deleted. */
  readonly isDryRun: boolean
  /** Gets what was deleted, or would be. */
  readonly onDelete: (manifest: UntaggedManifest) => void
  /** Asked before each step, to stop early. */
  readonly isEnding: () => boolean
}

/**
 * Deletes manifests that have had no tag for long, that no index lists, and that are attached to nothing that is there.
 * The time counts from when a run first saw it so: it is never shorter than since the push, or since the last tag went.
 * @returns how many were deleted.
 */
export async function deleteUntaggedManifests(
  dependencies: ManifestDeletion,
  options: UntaggedOptions,
): Promise<number> {
  const before = steadyNow() - options.ageMs
  await noteUntagged(dependencies, options)
  return deleteNoted(dependencies, options, before)
}

/** Notes what is untagged from now on, and takes away the notes of what is not any more. */
async function noteUntagged({ database }: ManifestDeletion, options: UntaggedOptions): Promise<void> {
  let after: ManifestKey | undefined
  while (!options.isEnding()) {
    const page = await listManifestKeys(database.read, after, LOOK_SIZE)
    for (const [repositoryId, keys] of byRepository(page)) {
      const { fresh, stale } = await compareNotes(database.read, repositoryId, keys)
      if (fresh.length === 0 && stale.length === 0) continue
      await database.transaction(async (transaction) => {
        // Some may have been deleted, tagged or listed since.
        const untagged = await findUntagged(transaction, repositoryId, [...fresh, ...stale])
        const noted = fresh.filter((digest) => untagged.has(digest)).map((digest) => ({ repositoryId, digest }))
        await insertUntagged(transaction, noted, steadyNow())
        await deleteUntagged(
          transaction,
          repositoryId,
          stale.filter((digest) => !untagged.has(digest)),
        )
      })
    }
    after = page.at(-1)
    if (page.length < LOOK_SIZE) return
    await sleep(PAUSE_MS)
  }
}

/** What is untagged and not noted, and what is noted and not untagged. */
async function compareNotes(connection: Connection, repositoryId: RepositoryId, digests: readonly Digest[]) {
  const untagged = await findUntagged(connection, repositoryId, digests)
  const noted = await findNotedUntagged(connection, repositoryId, digests)
  return { fresh: [...untagged.difference(noted)], stale: [...noted.difference(untagged)] }
}

async function deleteNoted(dependencies: ManifestDeletion, options: UntaggedOptions, before: number): Promise<number> {
  const { database } = dependencies
  let deleted = 0
  let after: (ManifestKey & { since: number }) | undefined
  while (!options.isEnding()) {
    const page = await listNotedUntagged(database.read, { before, after, limit: DELETE_SIZE })
    for (const [repositoryId, keys] of byRepository(page)) {
      const repository = (await findRepositoryName(database.read, repositoryId)) ?? ''
      const gone = options.isDryRun
        ? await findUntagged(database.read, repositoryId, keys)
        : await deleteStillUntagged(dependencies, { repositoryId, repository }, keys, before)
      for (const digest of gone) options.onDelete({ repository, digest })
      if (!options.isDryRun) deleted += gone.size
    }
    after = page.at(-1)
    if (page.length < DELETE_SIZE) break
    await sleep(PAUSE_MS)
  }
  return deleted
}

/** Decides in the transaction that deletes: a push may have come in between. */
async function deleteStillUntagged(
  { database, hasTrash, purging, inventory }: ManifestDeletion,
  { repositoryId, repository }: { repositoryId: RepositoryId; repository: string },
  digests: readonly Digest[],
  before: number,
): Promise<ReadonlySet<Digest>> {
  const gone = await database.transaction(async (transaction) => {
    const noted = await findNotedUntagged(transaction, repositoryId, digests, before)
    const untagged = (await findUntagged(transaction, repositoryId, digests)).intersection(noted)
    const deletion = { deletedAt: steadyNow(), reason: 'policy' } as const
    for (const digest of untagged) {
      if (hasTrash) await moveManifestToTrash(transaction, repositoryId, digest, deletion)
      else await deleteManifestRow(transaction, repositoryId, digest)
    }
    await purging?.purge(
      transaction,
      [...untagged].map((digest) => manifestPath(repository, digest)),
    )
    return untagged
  })
  await inventory?.forget(repository, { manifests: [...gone], tags: [] })
  return gone
}

function byRepository(keys: readonly ManifestKey[]): Map<RepositoryId, Digest[]> {
  const grouped = Map.groupBy(keys, (key) => key.repositoryId)
  return new Map([...grouped].map(([repositoryId, group]) => [repositoryId, group.map((key) => key.digest)]))
}
