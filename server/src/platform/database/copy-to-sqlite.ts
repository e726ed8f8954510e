import { open } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { sql } from 'kysely'
import type { Connection, Migration } from './database.ts'
import { appliedMigrations, migrate, requireKnown } from './migrations.ts'
import { openSqlite, toInput } from './sqlite.ts'

/** Rows that are read, and written, in one go: others get their turn between. */
const BATCH_ROWS = 500

/**
 * Copies a PostgreSQL database into a new SQLite file of the same schema: durable when the promise resolves.
 * @param snapshot a transaction that sees one state.
 * @param migrations what makes that schema.
 * @throws SchemaTooNewError when a newer version has changed the schema since, and what both engines throw.
 */
export async function copyToSqlite(
  snapshot: Connection,
  file: string,
  migrations: readonly Migration[],
): Promise<void> {
  requireKnown(await appliedMigrations(snapshot), migrations)
  const made = openSqlite(file)
  await migrate(made, migrations).finally(async () => made.close())
  const target = new DatabaseSync(file)
  try {
    // What is not whole is thrown away: nothing needs to be undone in it.
    target.exec('PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN')
    for (const table of tablesIn(target)) await copyRows(snapshot, target, table)
    target.exec('COMMIT')
  } finally {
    target.close()
  }
  const written = await open(file, 'r')
  try {
    await written.sync()
  } finally {
    await written.close()
  }
}

/** A table of the copy, with its columns. */
interface Table {
  readonly name: string
  readonly columns: readonly string[]
}

/** All but that of the migrations, each after those that it refers to, as migrations made them in this order. */
function tablesIn(target: DatabaseSync): Table[] {
  const names = target
    .prepare(
      `select name from sqlite_schema
       where type = 'table' and name not like 'sqlite\\_%' escape '\\' and name <> 'schema_migrations' order by rowid`,
    )
    .all()
    .map((row) => String(row['name']))
  return names.map((name) => ({
    name,
    columns: target
      .prepare('select name from pragma_table_info(?)')
      .all(name)
      .map((row) => String(row['name'])),
  }))
}

async function copyRows(snapshot: Connection, target: DatabaseSync, { name, columns }: Table): Promise<void> {
  // Each table has a number of its rows: an id of their own, or what stands for the number that SQLite gives them.
  const numbered = await sql<{ attname: string }>`
    select attname from pg_attribute where attrelid = to_regclass(${name}) and attidentity <> ''`.execute(snapshot)
  const number = numbered.rows[0]?.attname ?? 'rowid'
  const insert = target.prepare(
    `insert into ${quoted(name)} (${columns.map(quoted).join()}) values (${columns.map(() => '?').join()})`,
  )
  let after = Number.MIN_SAFE_INTEGER
  let copied = 0
  for (;;) {
    const { rows } = await sql<Record<string, unknown>>`
      select ${sql.ref(number)} as "number of the row", ${sql.join(columns.map((column) => sql.ref(column)))}
      from ${sql.table(name)} where ${sql.ref(number)} > ${after}
      order by ${sql.ref(number)} limit ${BATCH_ROWS}`.execute(snapshot)
    const last = rows.at(-1)
    if (last === undefined) break
    for (const row of rows) insert.run(...columns.map((column) => toInput(row[column])))
    copied += rows.length
    after = Number(last['number of the row'])
  }
  const { rows } = await sql<{ n: number }>`select count(*) as n from ${sql.table(name)}`.execute(snapshot)
  if (rows[0]?.n !== copied) throw new Error(`of ${rows[0]?.n ?? 0} rows of "${name}" only ${copied} were copied`)
  if (columns.includes(number)) await copySequence(snapshot, target, { name, number })
}

/** Numbers that were given to rows which are gone are not given again. */
async function copySequence(
  snapshot: Connection,
  target: DatabaseSync,
  { name, number }: { name: string; number: string },
): Promise<void> {
  const { rows } = await sql<{ last: number | null }>`
    select pg_sequence_last_value(pg_get_serial_sequence(${name}, ${number})::regclass) as last`.execute(snapshot)
  target.prepare('delete from sqlite_sequence where name = ?').run(name)
  target.prepare('insert into sqlite_sequence (name, seq) values (?, ?)').run(name, rows[0]?.last ?? 0)
}

/** A name can only stand in the text of a statement. */
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
