import type { Kysely, Transaction as KyselyTransaction } from 'kysely'

/** A place to query from; a table's owner adds its tables with `withTables`. */
export type Connection = Kysely<object>

/** A connection inside a transaction: what is done through it happens whole or not at all. */
export type Transaction = KyselyTransaction<object>

/** One step of the schema. A room only ever adds steps at the end of its list, and a name is never used again. */
export interface Migration {
  readonly name: string
  readonly up: (transaction: Transaction) => Promise<void>
}

/** The metadata of one installation, whichever engine keeps it. */
export interface Database {
  /** For reading only; sees what was committed. */
  readonly read: Connection
  /** Grows with everything that is committed, before the transaction's promise resolves. */
  readonly version: number
  /**
   * Runs the work in one transaction and commits it durably before the promise resolves.
   * Writers take turns. Whatever the work throws undoes everything and is thrown on.
   */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result>
  /** Asks the engine something trivial; throws when it does not answer. */
  check(): Promise<void>
  /**
   * Writes a copy of what is committed when it begins into a new file, an SQLite database: durable when the promise
   * resolves. Writers go on meanwhile.
   * @param migrations make the schema of the copy where there is no SQLite file to copy.
   * @throws SchemaTooNewError when another process has changed the schema since.
   */
  copyTo(file: string, migrations: readonly Migration[]): Promise<void>
  close(): Promise<void>
}
