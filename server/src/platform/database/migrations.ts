import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import type { Connection, Database, Migration, Transaction } from './database.ts'
import { hasTable } from './engine.ts'
import { besideOthers, lockKey } from './key-locks.ts'

/** The database was written by a newer version than this one. */
export class SchemaTooNewError extends Error {
  constructor(unknownMigration: string) {
    super(
      `the database was upgraded by a newer version of Entrepot (it has the migration "${unknownMigration}"); ` +
        'start that version or a newer one',
    )
    this.name = 'SchemaTooNewError'
  }
}

const MIGRATIONS_TABLE = 'schema_migrations'

type MigrationTables = { schema_migrations: { name: string; position: number; applied_at: number } }

/**
 * Whether no step was ever taken in a SQLite file. It changes nothing, whereas opening a file that is not there creates
 * it, and SQLite then removes the write-ahead log of the one that was.
 * @throws the engine's error when the file is no database.
 */
export function isNewDatabase(file: string): boolean {
  const sizeBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  if (sizeBytes === 0) return true
  const url = pathToFileURL(file)
  // Without a log the file says everything, and needs no index of the log, which has no room on a full disk.
  if ((statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0) url.searchParams.set('immutable', '1')
  const database = new DatabaseSync(url, { readOnly: true })
  try {
    const query = "select 1 from sqlite_schema where type = 'table' and name <> 'schema_migrations' limit 1"
    return database.prepare(query).get() === undefined
  } finally {
    database.close()
  }
}

/**
 * Brings the schema up to date: each missing step in a transaction of its own, so that a crash leaves whole steps. Others
 * that do the same wait, for up to 10 seconds.
 * @throws SchemaTooNewError
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<void> {
  await besideOthers(database.read, async (connection) => {
    // Several that start at once would change the same catalogs.
    await lockKey(connection, MIGRATIONS_TABLE)
    await takeSteps(database, migrations)
  })
}

async function takeSteps(database: Database, migrations: readonly Migration[]): Promise<void> {
  if (!(await hasTable(database.read, MIGRATIONS_TABLE))) await database.transaction(createMigrationsTable)
  const applied = new Set(await appliedMigrations(database.read))
  requireKnown(applied, migrations)
  for (const migration of migrations) {
    if (applied.has(migration.name)) continue
    await database.transaction(async (transaction) => {
      // Another process that starts, too, may have taken the step by now.
      const taken = await appliedMigrations(transaction)
      if (taken.includes(migration.name)) return
      await migration.up(transaction)
      await transaction
        .withTables<MigrationTables>()
        .insertInto(MIGRATIONS_TABLE)
        .values({ name: migration.name, position: taken.length, applied_at: Date.now() })
        .execute()
    })
  }
}

async function createMigrationsTable({ schema }: Transaction): Promise<void> {
  await schema
    .createTable(MIGRATIONS_TABLE)
    .ifNotExists()
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('position', 'integer', (column) => column.notNull())
    .addColumn('applied_at', 'bigint', (column) => column.notNull())
    .execute()
}

/** @throws SchemaTooNewError when steps were taken that are not among the migrations. */
export function requireKnown(applied: Iterable<string>, migrations: readonly Migration[]): void {
  const known = new Set(migrations.map(({ name }) => name))
  for (const name of applied) if (!known.has(name)) throw new SchemaTooNewError(name)
}

/** Whether no step was ever taken in a database. */
export async function isUnused(connection: Connection): Promise<boolean> {
  return !(await hasTable(connection, MIGRATIONS_TABLE)) || (await appliedMigrations(connection)).length === 0
}

/** The names of the steps that were taken, in their order. */
export async function appliedMigrations(connection: Connection): Promise<string[]> {
  const rows = await connection
    .withTables<MigrationTables>()
    .selectFrom(MIGRATIONS_TABLE)
    .select('name')
    .orderBy('position')
    .execute()
  return rows.map((row) => row.name)
}
