import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isSqliteError } from './sqlite-error.ts'

/** A process that is being ended may still be busy for a moment. */
const TIMEOUT_MS = 3_000
/** SQLite's result code for a lock that another process holds (sqlite.org/rescode.html). */
const SQLITE_BUSY = 5

/** Held until the process ends: whoever would give a lock up earlier could still be writing. */
const HELD: DatabaseSync[] = []

/** Another process works in the folder. */
export class FolderInUseError extends Error {
  constructor(folder: string, options: ErrorOptions) {
    super(
      `another Entrepot works in the data folder ${folder}: end it, or set "storage.filesystem.rootdirectory" ` +
        '(REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY) to another folder',
      options,
    )
    this.name = 'FolderInUseError'
  }
}

/**
 * Takes a folder for this process alone: requests for the same upload take turns within one process, and what was read
 * from the database is remembered until this process writes. The kernel ends the lock with the process, however that ends.
 * @throws FolderInUseError
 */
export function lockFolder(folder: string): void {
  HELD.push(lock(folder, 'BEGIN EXCLUSIVE'))
}

/**
 * Takes a folder together with others that do the same, and keeps out who needs it alone: their metadata is in one
 * database, which keeps them apart.
 * @throws FolderInUseError when somebody has it alone.
 */
export function shareFolder(folder: string): void {
  // The lock comes with the first read.
  HELD.push(lock(folder, 'BEGIN; SELECT 1 FROM sqlite_schema'))
}

/**
 * Takes a folder for some work alone, such as one that backups go to.
 * @returns gives it back.
 * @throws FolderInUseError
 */
export function borrowFolder(folder: string): () => void {
  const file = lock(folder, 'BEGIN EXCLUSIVE')
  return () => file.close()
}

function lock(folder: string, begin: string): DatabaseSync {
  const file = new DatabaseSync(join(folder, 'entrepot.lock'), { timeout: TIMEOUT_MS })
  try {
    // Nothing is ever written, so that no journal is needed beside it.
    file.exec('PRAGMA journal_mode = MEMORY')
    file.exec(begin)
  } catch (error) {
    file.close()
    const isBusy = isSqliteError(error) && error.errcode === SQLITE_BUSY
    throw isBusy ? new FolderInUseError(folder, { cause: error }) : error
  }
  return file
}
