import type { Digest } from '@entrepot/oci'
import { findStoredSizes } from '#core/blobs'
import { inspectSqlite } from '#platform/database'
import { type BackupPlace, listMarks, openSoundMetadata } from './backup-place.ts'

/**
 * Removes all but the newest backups, what was begun and never finished, and content that no backup names any more. Nobody
 * else may write to the place.
 * @param confirm throws when somebody may.
 */
export async function keepNewest(place: BackupPlace, count: number, confirm: () => void): Promise<void> {
  const kept = (await listMarks(place)).slice(0, count)
  const ids = new Set(kept.map(({ id }) => id))
  const opened = []
  try {
    // What cannot be read names nothing, and would take content with it.
    for (const mark of kept) {
      const metadata = await openSoundMetadata(place, mark)
      opened.push({ metadata, database: inspectSqlite(metadata.file, true) })
    }
    for (const id of await place.ids()) {
      confirm()
      if (!ids.has(id)) await place.remove(id)
    }
    for await (const page of place.listContents()) {
      const named = new Set<Digest>()
      for (const { database } of opened) {
        for (const [digest] of await findStoredSizes(database.read, page)) named.add(digest)
      }
      confirm()
      await place.removeContents(page.filter((digest) => !named.has(digest)))
    }
  } finally {
    for (const { metadata, database } of opened) {
      await database.close()
      await metadata.close()
    }
  }
}
