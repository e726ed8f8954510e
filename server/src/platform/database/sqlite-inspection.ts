import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { Kysely, SqliteDialect } from 'kysely'
import type { Connection } from './database.ts'
import { adapt } from './sqlite.ts'

const BUSY_TIMEOUT_MS = 5_000
const MAX_STRUCTURE_PROBLEMS = 100

/** A row that refers to another one that is not there. */
export interface DanglingRow {
  readonly table: string
  /** The table that lacks what is referred to. */
  readonly parent: string
  /** The row's own columns. */
  readonly values: Readonly<Record<string, unknown>>
}

/** A database that is looked at and never changed. */
export interface DatabaseInspection {
  readonly read: Connection
  /** Runs the work on one state of the database, whatever is committed meanwhile. */
  snapshot<Result>(work: (connection: Connection) => Promise<Result>): Promise<Result>
  /** What is wrong with the structure of the file, in the engine's words. */
  structureProblems(): string[]
  danglingRows(): Iterable<DanglingRow>
  close(): Promise<void>
}

/**
 * Opens an SQLite file for looking at it only.
 * @param isAlone whether no other process has the file open: it is then read without the files that processes share.
 * @throws the engine's error when the file cannot be opened.
 */
export function inspectSqlite(file: string, isAlone: boolean): DatabaseInspection {
  const location = pathToFileURL(file)
  // What is in the write-ahead log can only be read together with the files that processes share.
  const hasLog = (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
  if (isAlone && !hasLog) location.searchParams.set('immutable', '1')
  const database = new DatabaseSync(location, { timeout: BUSY_TIMEOUT_MS, readOnly: true })
  const read = new Kysely<object>({ dialect: new SqliteDialect({ database: adapt(database, 'begin') }) })
  return {
    read,
    snapshot: async (work) => read.transaction().execute(work),
    structureProblems: () =>
      database
        .prepare(`PRAGMA integrity_check(${MAX_STRUCTURE_PROBLEMS})`)
        .all()
        .map((row) => String(row['integrity_check']))
        .filter((text) => text !== 'ok'),
    danglingRows: () => danglingRows(database),
    close: async () => read.destroy(),
  }
}

function* danglingRows(database: DatabaseSync): Iterable<DanglingRow> {
  for (const violation of database.prepare('PRAGMA foreign_key_check').iterate()) {
    const table = String(violation['table'])
    const rowid = violation['rowid']
    // A name can only stand in the text of a statement.
    const select = database.prepare(`select * from "${table.replaceAll('"', '""')}" where rowid = ?`)
    select.setReadBigInts(true)
    const values = typeof rowid === 'number' ? select.get(rowid) : undefined
    // Without its row it was deleted since.
    if (values !== undefined) yield { table, parent: String(violation['parent']), values: { ...values } }
  }
}
