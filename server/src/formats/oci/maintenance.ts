import { steadyNow } from '#platform/clock'
import type { Transaction } from '#platform/database'
import type { Logger } from '#platform/log'
import type { ManifestDeletion } from './manifest-deletion.ts'
import { forgetTrash } from './trash.ts'
import { correctTrashTimes } from './trash-list-rows.ts'
import { deleteUntaggedManifests } from './untagged.ts'
import { correctUntaggedTimes } from './untagged-rows.ts'

export interface OciMaintenance {
  /** How long what was deleted rests; 0 means not at all. */
  readonly trashAgeMs: number
  /** Which manifests without a tag are deleted; undefined keeps them all. */
  readonly untagged: { readonly ageMs: number; readonly isDryRun: boolean } | undefined
}

/**
 * What manifests no longer keep, before garbage is collected: those without a tag that a rule deletes, and what has
 * rested in the trash for long enough.
 * @returns does it once; it asks before each step whether to stop early.
 */
export function createOciMaintenance(
  dependencies: Pick<ManifestDeletion, 'database' | 'purging' | 'inventory'> & { log: Logger },
  options: OciMaintenance,
): (isEnding: () => boolean) => Promise<void> {
  const { database, purging, inventory, log } = dependencies
  const { trashAgeMs, untagged } = options
  return async (isEnding) => {
    if (untagged !== undefined) {
      const { isDryRun } = untagged
      const text = isDryRun ? 'a manifest without a tag would be deleted' : 'a manifest without a tag was deleted'
      await deleteUntaggedManifests(
        { database, hasTrash: trashAgeMs > 0, purging, inventory },
        { ...untagged, isEnding, onDelete: (manifest) => log.info({ ...manifest, dryRun: isDryRun }, text) },
      )
    }
    const forgotten = await forgetTrash(database, { before: steadyNow() - trashAgeMs, repository: undefined }, isEnding)
    if (forgotten.manifests + forgotten.tags > 0) log.info(forgotten, 'what rested in the trash was forgotten')
  }
}

/** Lets what happened at a time that is still to come, by a clock that was set back since, count from now. */
export async function correctOciTimes(transaction: Transaction, now: number): Promise<void> {
  await correctUntaggedTimes(transaction, now)
  await correctTrashTimes(transaction, now)
}
