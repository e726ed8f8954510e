import type { Connection, Database, Transaction } from './database.ts'

/** One step of the schema. A room only ever adds steps at the end of its list, and a name is never used again. */
export interface Migration {
  readonly name: string
  readonly up: (transaction: Transaction) => Promise<void>
}

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

type MigrationTables = { schema_migrations: { name: string; position: number; applied_at: number } }

/**
 * Brings the schema up to date: each missing step in a transaction of its own, so that a crash leaves whole steps.
 * @throws SchemaTooNewError
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<void> {
  await database.transaction(async (transaction) =>
    transaction.schema
      .createTable('schema_migrations')
      .ifNotExists()
      .addColumn('name', 'text', (column) => column.primaryKey())
      .addColumn('position', 'integer', (column) => column.notNull())
      .addColumn('applied_at', 'bigint', (column) => column.notNull())
      .execute(),
  )
  const applied = new Set(await appliedNames(database.read))
  const known = new Set(migrations.map((migration) => migration.name))
  for (const name of applied) if (!known.has(name)) throw new SchemaTooNewError(name)
  let position = applied.size
  for (const migration of migrations) {
    if (applied.has(migration.name)) continue
    await database.transaction(async (transaction) => {
      await migration.up(transaction)
      await transaction
        .withTables<MigrationTables>()
        .insertInto('schema_migrations')
        .values({ name: migration.name, position, applied_at: Date.now() })
        .execute()
    })
    position++
  }
}

async function appliedNames(connection: Connection): Promise<string[]> {
  const rows = await connection
    .withTables<MigrationTables>()
    .selectFrom('schema_migrations')
    .select('name')
    .orderBy('position')
    .execute()
  return rows.map((row) => row.name)
}
