import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { sql } from 'kysely'
import type { Connection, Migration } from './database.ts'
import { appliedMigrations, migrate, requireKnown } from './migrations.ts'
import { openSqlite, toInput } from './sqlite.ts'
import type { Filling } from './sqlite-fill-worker.ts'

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
  const tables = tablesIn(file)
  const filler = new SqliteFiller(file)
  try {
    for (const table of tables) await copyRows(snapshot, filler, table)
    await filler.put('end')
    await filler.finish()
  } finally {
    await filler.terminate()
  }
}

/** Fills a file in a thread, which works on one thing while the next one is made. */
class SqliteFiller {
  readonly #worker: Worker
  #working: Promise<unknown> = Promise.resolve()

  constructor(file: string) {
    this.#worker = new Worker(new URL('./sqlite-fill-worker.ts', import.meta.url), { workerData: file })
  }

  /** @throws the engine's error of what was put before. */
  async put(filling: Filling): Promise<void> {
    await this.#working
    // It rejects with the error that the thread ends with.
    this.#working = once(this.#worker, 'message')
    // Whoever puts the next thing hears of it.
    this.#working.catch(() => {})
    this.#worker.postMessage(filling)
  }

  async finish(): Promise<void> {
    await this.#working
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}

/** A table of the copy, with its columns. */
interface Table {
  readonly name: string
  readonly columns: readonly string[]
}

/** All but that of the migrations, each after those that it refers to, as migrations made them in this order. */
function tablesIn(file: string): Table[] {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    const names = database
      .prepare(
        `select name from sqlite_schema
         where type = 'table' and name not like 'sqlite\\_%' escape '\\' and name <> 'schema_migrations' order by rowid`,
      )
      .all()
      .map((row) => String(row['name']))
    return names.map((name) => ({
      name,
      columns: database
        .prepare('select name from pragma_table_info(?)')
        .all(name)
        .map((row) => String(row['name'])),
    }))
  } finally {
    database.close()
  }
}

async function copyRows(snapshot: Connection, filler: SqliteFiller, { name, columns }: Table): Promise<void> {
  // Each table has a number of its rows: an id of their own, or what stands for the number that SQLite gives them.
  const numbered = await sql<{ attname: string }>`
    select attname from pg_attribute where attrelid = to_regclass(${name}) and attidentity <> ''`.execute(snapshot)
  const number = numbered.rows[0]?.attname ?? 'rowid'
  let after = Number.MIN_SAFE_INTEGER
  let copied = 0
  for (;;) {
    const { rows } = await sql<Record<string, unknown>>`
      select ${sql.ref(number)} as "number of the row", ${sql.join(columns.map((column) => sql.ref(column)))}
      from ${sql.table(name)} where ${sql.ref(number)} > ${after}
      order by ${sql.ref(number)} limit ${BATCH_ROWS}`.execute(snapshot)
    const last = rows.at(-1)
    if (last === undefined) break
    await filler.put({ table: name, columns, rows: rows.map((row) => columns.map((column) => toInput(row[column]))) })
    copied += rows.length
    after = Number(last['number of the row'])
  }
  const { rows } = await sql<{ n: number }>`select count(*) as n from ${sql.table(name)}`.execute(snapshot)
  if (rows[0]?.n !== copied) throw new Error(`of ${rows[0]?.n ?? 0} rows of "${name}" only ${copied} were copied`)
  if (!columns.includes(number)) return
  // Numbers that were given to rows which are gone are not given again.
  const sequence = await sql<{ last: number | null }>`
    select pg_sequence_last_value(pg_get_serial_sequence(${name}, ${number})::regclass) as last`.execute(snapshot)
  await filler.put({ table: name, lastNumber: sequence.rows[0]?.last ?? 0 })
}
