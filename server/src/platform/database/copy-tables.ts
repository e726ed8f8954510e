import { sql } from 'kysely'
import type { Connection, Transaction } from './database.ts'
import { hasTable } from './engine.ts'

/** How many rows go in one statement: twelve columns of each are far from the 65,535 parameters of one. */
const BATCH_ROWS = 1_000

/** A table and what it holds. */
export interface TableSize {
  readonly table: string
  readonly rows: number
}

/** The tables of an SQLite database but for that of its migrations, each after those that it refers to, with their sizes. */
export async function tablesOf(source: Connection): Promise<TableSize[]> {
  // Migrations made them in this order; nothing can be referred to that is not there yet.
  const { rows } = await sql<{ name: string }>`
    select name from sqlite_schema
    where type = 'table' and name not like 'sqlite\\_%' escape '\\' and name <> 'schema_migrations'
    order by rowid`.execute(source)
  const sizes: TableSize[] = []
  for (const { name } of rows) sizes.push({ table: name, rows: await countRows(source, name) })
  return sizes
}

/** The first of the tables that has a row in a database; undefined where none has, or is not even there. */
export async function firstFilledTable(target: Connection, tables: readonly string[]): Promise<string | undefined> {
  for (const table of tables) {
    if (!(await hasTable(target, table))) continue
    const { rows } = await sql`select 1 from ${sql.table(table)} limit 1`.execute(target)
    if (rows.length > 0) return table
  }
  return undefined
}

/**
 * Copies all rows of tables from SQLite to PostgreSQL, where the tables are empty and of the same schema, in the order of
 * their numbers. Numbers that SQLite gave to rows which are gone are not given again.
 * @param onRows is told how many rows more there are.
 * @throws Error when a table does not have as many rows in the end.
 */
export async function copyTables(
  source: Connection,
  target: Transaction,
  tables: readonly TableSize[],
  onRows: (rows: number) => void,
): Promise<void> {
  for (const { table, rows } of tables) {
    await copyRows(source, target, table, onRows)
    const copied = await countRows(target, table)
    if (copied !== rows) throw new Error(`of ${rows} rows of "${table}" only ${copied} arrived`)
  }
  for (const { name, seq } of await sequencesOf(source)) {
    await sql`select setval(pg_get_serial_sequence(${name}, 'id'), ${seq})`.execute(target)
  }
}

async function copyRows(source: Connection, target: Transaction, table: string, onRows: (rows: number) => void) {
  const info = await sql<{ name: string }>`select name from pragma_table_info(${table})`.execute(source)
  const columns = info.rows.map(({ name }) => name)
  const names = sql.join(columns.map((column) => sql.ref(column)))
  let after = Number.MIN_SAFE_INTEGER
  for (;;) {
    const { rows } = await sql<Record<string, unknown>>`
      select rowid as "rowid of sqlite", ${names} from ${sql.table(table)}
      where rowid > ${after} order by rowid limit ${BATCH_ROWS}`.execute(source)
    const last = rows.at(-1)
    if (last === undefined) return
    const values = rows.map((row) => sql`(${sql.join(columns.map((column) => row[column]))})`)
    await sql`insert into ${sql.table(table)} (${names}) overriding system value values ${sql.join(values)}`.execute(
      target,
    )
    after = Number(last['rowid of sqlite'])
    onRows(rows.length)
  }
}

/** The last number that each table with numbers of its own has given. */
async function sequencesOf(source: Connection): Promise<{ name: string; seq: number }[]> {
  if (!(await hasTable(source, 'sqlite_sequence'))) return []
  return (await sql<{ name: string; seq: number }>`select name, seq from sqlite_sequence where seq > 0`.execute(source))
    .rows
}

async function countRows(connection: Connection, table: string): Promise<number> {
  const { rows } = await sql<{ n: number }>`select count(*) as n from ${sql.table(table)}`.execute(connection)
  return rows[0]?.n ?? 0
}
