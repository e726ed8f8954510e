import { closeSync, fsyncSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { workerData } from 'node:worker_threads'

const BUSY_TIMEOUT_MS = 5_000

const { file, target }: { file: string; target: string } = workerData
const database = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
// One read transaction: what is committed meanwhile is not seen (sqlite.org/lang_vacuum.html, "VACUUM INTO").
database.prepare('VACUUM INTO ?').run(target)
database.close()
// SQLite leaves the copy to the kernel.
const descriptor = openSync(target, 'r')
fsyncSync(descriptor)
closeSync(descriptor)
