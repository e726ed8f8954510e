import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { isSqliteError } from './sqlite-error.ts'

/** `PASSIVE` moves what it can beside writers, `TRUNCATE` everything, while there are none (sqlite.org/pragma.html). */
export type CheckpointMode = 'PASSIVE' | 'TRUNCATE'

/** How a move of the write-ahead log into the database went. */
export interface CheckpointOutcome {
  /** The length of what the log held. */
  readonly logSizeBytes: number
  /** SQLite's result code and message when it failed. */
  readonly failure: { readonly code: number; readonly message: string } | undefined
}

/** The frame of a page has a header of 24 bytes (sqlite.org/fileformat2.html, "WAL File Format"). */
const FRAME_HEADER_BYTES = 24

const database = new DatabaseSync(String(workerData))
database.exec('PRAGMA synchronous = FULL')
const frameSizeBytes = Number(database.prepare('PRAGMA page_size').get()?.['page_size']) + FRAME_HEADER_BYTES

function checkpoint(mode: CheckpointMode): CheckpointOutcome {
  try {
    const row = database.prepare(`PRAGMA wal_checkpoint(${mode})`).get()
    return { logSizeBytes: Math.max(0, Number(row?.['log'])) * frameSizeBytes, failure: undefined }
  } catch (error) {
    if (!isSqliteError(error)) throw error
    return { logSizeBytes: 0, failure: { code: error.errcode, message: error.message } }
  }
}

parentPort?.on('message', (mode: CheckpointMode) => parentPort?.postMessage(checkpoint(mode)))
