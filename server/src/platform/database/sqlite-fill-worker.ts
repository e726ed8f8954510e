import { closeSync, fsyncSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

/** Rows of a table, in the order of its columns. */
export interface FilledRows {
  readonly table: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly SQLInputValue[])[]
}

/** What is put into the file next: rows, or the last number that a table has given; then nothing more. */
export type Filling = FilledRows | { readonly table: string; readonly lastNumber: number } | 'end'

const file = String(workerData)
const database = new DatabaseSync(file)
// What is not whole is thrown away: nothing needs to be undone in it.
database.exec('PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN')

/** A name can only stand in the text of a statement. */
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

function insert({ table, columns, rows }: FilledRows): void {
  const statement = database.prepare(
    `insert into ${quoted(table)} (${columns.map(quoted).join()}) values (${columns.map(() => '?').join()})`,
  )
  for (const row of rows) statement.run(...row)
}

function end(): void {
  database.exec('COMMIT')
  database.close()
  const descriptor = openSync(file, 'r')
  fsyncSync(descriptor)
  closeSync(descriptor)
}

parentPort?.on('message', (filling: Filling) => {
  if (filling === 'end') end()
  else if ('rows' in filling) insert(filling)
  else {
    database.prepare('delete from sqlite_sequence where name = ?').run(filling.table)
    database.prepare('insert into sqlite_sequence (name, seq) values (?, ?)').run(filling.table, filling.lastNumber)
  }
  parentPort?.postMessage('done')
})
