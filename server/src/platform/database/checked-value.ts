import type { RawBuilder } from 'kysely'
import type { Connection } from './database.ts'
import { isPostgres } from './engine.ts'
import { sql } from 'kysely'

/** What columns hold of the type that they should have; SQLite takes any value into any column. */
export interface CheckedValues {
  /** A column as text; null where the row holds something else, which only a check expects. */
  readonly text: (column: string) => RawBuilder<string | null>
  /** A column as a whole number; null where the row holds something else, or more than a number of JavaScript can. */
  readonly whole: (column: string) => RawBuilder<number | null>
  /** 1 where a column is null or a whole number, else 0. */
  readonly isWholeOrNull: (column: string) => RawBuilder<number>
}

const max = sql.lit(Number.MAX_SAFE_INTEGER)
const inRange = (column: string) => sql`${sql.ref(column)} between -${max} and ${max}`

/** What SQLite is asked. */
const UNTYPED: CheckedValues = {
  text: (column) => sql`case when typeof(${sql.ref(column)}) = 'text' then ${sql.ref(column)} end`,
  whole: (column) =>
    sql`case when typeof(${sql.ref(column)}) = 'integer' and ${inRange(column)} then ${sql.ref(column)} end`,
  isWholeOrNull: (column) => sql`${sql.ref(column)} is null or typeof(${sql.ref(column)}) = 'integer'`,
}

/** PostgreSQL holds each value to the type of its column. */
const TYPED: CheckedValues = {
  text: (column) => sql`${sql.ref(column)}`,
  whole: (column) => sql`case when ${inRange(column)} then ${sql.ref(column)} end`,
  isWholeOrNull: () => sql`1`,
}

/** How the engine of a connection is asked for what columns hold. */
export function checkedValues(connection: Connection): CheckedValues {
  return isPostgres(connection) ? TYPED : UNTYPED
}
