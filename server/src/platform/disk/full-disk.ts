import { isSqliteError } from '#platform/database'

const MEBIBYTE = 1024 * 1024
/** The kernel's words for a full disk. */
const FULL_CODES = new Set(['ENOSPC', 'EDQUOT'])
/** SQLite's: no room for a page, and none for the index of its log (sqlite.org/rescode.html). */
const SQLITE_FULL_CODES = new Set([13, 4874])

/** Nothing is stored until there is more room: what is left is for those who delete. */
export class DiskFullError extends Error {
  /** @param neededBytes so much must be free before anything is stored again. */
  constructor(neededBytes: number) {
    const mebibytes = Math.ceil(neededBytes / MEBIBYTE)
    super(`the storage is full; nothing was stored: pushes go on when ${mebibytes} MiB are free`)
    this.name = 'DiskFullError'
  }
}

/** Whether something failed because there was no room on the disk. */
export function isDiskFull(error: unknown): boolean {
  if (error instanceof DiskFullError) return true
  if (isSqliteError(error)) return SQLITE_FULL_CODES.has(error.errcode)
  return error instanceof Error && 'code' in error && FULL_CODES.has(String(error.code))
}
