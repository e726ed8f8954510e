import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import type { SqliteDatabase, SqliteStatement } from 'kysely'
import { Kysely, sql, SqliteDialect } from 'kysely'
import type { Database } from './database.ts'
import { isSqliteError } from './sqlite-error.ts'
import { copySqlite } from './sqlite-copy.ts'
import { WriteAheadLog } from './write-ahead-log.ts'

/** How long a writer waits for another process, such as a backup, to let go of the file. */
const BUSY_TIMEOUT_MS = 5_000
/** Result codes (sqlite.org/rescode.html): a full disk; a sync of a file, and of a folder, that failed. */
const SQLITE_FULL = 13
const SYNC_FAILURES = new Set([1034, 1290])
const MAX_PREPARED_STATEMENTS = 500
const NOTHING_CHANGED = { changes: 0, lastInsertRowid: 0 }

/**
 * Opens, and creates if need be, the SQLite file. A transaction's promise resolves when its commit is on the disk.
 * @throws the engine's error when the file cannot be opened or is no database.
 */
export function openSqlite(file: string): Database {
  const writer = connectWriter(file)
  const reader = adapt(new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, readOnly: true }))
  const write = new Kysely<object>({ dialect: new SqliteDialect({ database: writer }) })
  const read = new Kysely<object>({ dialect: new SqliteDialect({ database: reader }) })
  // Whoever holds the writer's connection keeps all transactions waiting.
  const log = new WriteAheadLog(file, async (work) => write.connection().execute(work))
  let version = 0
  return {
    read,
    get version() {
      return version
    },
    transaction: async (work) => {
      log.throwFailure()
      let result
      try {
        result = await write.transaction().execute(work)
      } catch (error) {
        if (isSqliteError(error) && SYNC_FAILURES.has(error.errcode)) log.fail(error)
        if (isSqliteError(error) && error.errcode === SQLITE_FULL) log.noteFull()
        throw error
      } finally {
        version++
      }
      await log.sync()
      return result
    },
    check: async () => {
      log.check()
      await sql`select 1`.execute(read)
    },
    copyTo: async (target) => copySqlite(file, target),
    close: async () => {
      await log.close()
      await read.destroy()
      await write.destroy()
    },
  }
}

/** The connection that writes: it leaves syncing and moving the write-ahead log to `WriteAheadLog`. */
function connectWriter(file: string): SqliteDatabase {
  const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  database.exec('PRAGMA journal_mode = WAL')
  // What a crash left in the log is brought into the database, and synced, before anything follows it.
  database.exec('PRAGMA synchronous = FULL')
  try {
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch (error) {
    // A full disk can still be read, and be made room on.
    if (!isSqliteError(error) || error.errcode !== SQLITE_FULL) throw error
  }
  // SQLite goes on to sync what keeps the log whole when it is begun anew, but not each commit.
  database.exec('PRAGMA synchronous = NORMAL')
  database.exec('PRAGMA wal_autocheckpoint = 0')
  return adapt(database)
}

/**
 * What the query builder needs of a SQLite connection.
 * @param begin how a transaction begins: one that writes takes the write lock at once, so that it cannot fail later for
 * having read before.
 */
export function adapt(database: DatabaseSync, begin: 'begin' | 'begin immediate' = 'begin immediate'): SqliteDatabase {
  database.exec('PRAGMA foreign_keys = ON')
  const prepared = new Map<string, SqliteStatement>()
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const known = prepared.get(sql)
      if (known !== undefined) return known
      const statement = prepare(database, sql === 'begin' ? begin : sql)
      if (prepared.size >= MAX_PREPARED_STATEMENTS) prepared.clear()
      prepared.set(sql, statement)
      return statement
    },
  }
}

function prepare(database: DatabaseSync, sql: string): SqliteStatement {
  const statement = database.prepare(sql)
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...parameters.map(toInput)),
    run: (parameters) => {
      // On a full disk SQLite has rolled back by itself; the failure of a second time would hide the reason.
      if (sql === 'rollback' && !database.isTransaction) return NOTHING_CHANGED
      return statement.run(...parameters.map(toInput))
    },
    iterate: (parameters) => statement.iterate(...parameters.map(toInput)),
  }
}

/** A value of a row as SQLite's client takes it. */
export function toInput(value: unknown): SQLInputValue {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'bigint':
      return value
    default:
      if (value === null || value === undefined) return null
      if (value instanceof Uint8Array) return value
      throw new TypeError(`a ${typeof value} cannot be stored in SQLite`)
  }
}
