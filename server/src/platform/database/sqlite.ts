import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { Kysely, sql, type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely'
import type { Database } from './database.ts'

/** How long a writer waits for another process, such as a backup, to let go of the file. */
const BUSY_TIMEOUT_MS = 5_000
const MAX_PREPARED_STATEMENTS = 500
const NOTHING_CHANGED = { changes: 0, lastInsertRowid: 0 }

/**
 * Opens, and creates if need be, the SQLite file: write-ahead log, each commit synced to the disk.
 * @throws the engine's error when the file cannot be opened or is no database.
 */
export function openSqlite(file: string): Database {
  const writer = connect(file, false)
  const reader = connect(file, true)
  const write = new Kysely<object>({ dialect: new SqliteDialect({ database: writer }) })
  const read = new Kysely<object>({ dialect: new SqliteDialect({ database: reader }) })
  let version = 0
  return {
    read,
    get version() {
      return version
    },
    transaction: async (work) => {
      try {
        return await write.transaction().execute(work)
      } finally {
        version++
      }
    },
    check: async () => {
      await sql`select 1`.execute(read)
    },
    close: async () => {
      await read.destroy()
      await write.destroy()
    },
  }
}

function connect(file: string, isReadOnly: boolean): SqliteDatabase {
  const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, readOnly: isReadOnly })
  if (!isReadOnly) database.exec('PRAGMA journal_mode = WAL')
  database.exec('PRAGMA synchronous = FULL')
  database.exec('PRAGMA foreign_keys = ON')
  const prepared = new Map<string, SqliteStatement>()
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const known = prepared.get(sql)
      if (known !== undefined) return known
      const statement = prepare(database, sql)
      if (prepared.size >= MAX_PREPARED_STATEMENTS) prepared.clear()
      prepared.set(sql, statement)
      return statement
    },
  }
}

function prepare(database: DatabaseSync, sql: string): SqliteStatement {
  // A transaction here always writes: taking the write lock at once, it cannot fail later for having read before.
  const statement = database.prepare(sql === 'begin' ? 'begin immediate' : sql)
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

function toInput(value: unknown): SQLInputValue {
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
