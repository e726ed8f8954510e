import { mkdir, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What fsync(2) and open(2) say of folders that this user may not read, or that are on no disk of ours. */
const UNSYNCABLE_CODES = new Set(['EACCES', 'EINVAL', 'EROFS'])

/**
 * Makes a folder, and those above it that are missing, for this user alone, so that a power cut cannot undo it.
 * @param path absolute
 * @throws what the disk throws when it cannot be made or synced, and EEXIST when something else has its name.
 */
export async function makeDurableFolder(path: string): Promise<void> {
  const above = dirname(path)
  const isNew = await makeFolder(path)
  try {
    // If it was there, too: whoever made it may have been killed before this. One by one, so that this is the only such.
    await syncFolder(above)
  } catch (error) {
    if (isNew || !hasCode(error, UNSYNCABLE_CODES)) throw error
  }
}

/** Makes the names in a folder durable: without it a power cut can undo a rename (fsync(2)). */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** @returns whether it was missing. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (error) {
    if (hasCode(error, new Set(['EEXIST'])) && (await stat(path)).isDirectory()) return false
    if (!hasCode(error, new Set(['ENOENT'])) || dirname(path) === path) throw error
    await makeDurableFolder(dirname(path))
    await mkdir(path, { mode: 0o700 })
    return true
  }
}

function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return error instanceof Error && 'code' in error && codes.has(String(error.code))
}
