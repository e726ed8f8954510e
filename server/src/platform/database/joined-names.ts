import { type Compilable, type SelectQueryBuilder, sql } from 'kysely'
import type { Connection } from './database.ts'

/** Stands between names, none of which has one. */
const SEPARATOR = ' '

/** The names of a list in one text, which a database hands over in a fraction of the time of as many rows. */
export interface JoinedNames {
  readonly names: string | null
}

/**
 * Joins the names that a query finds, in the query's order: both databases join as they find, and to sort once more, as
 * `string_agg` could, takes PostgreSQL as long as all the rest.
 */
export function joinNames(
  connection: Connection,
  query: SelectQueryBuilder<never, never, { name: string }>,
): Compilable<JoinedNames> {
  return connection
    .selectFrom(query.as('listed'))
    .select(sql<string | null>`string_agg(name, ${sql.lit(SEPARATOR)})`.as('names'))
}

/** The names that were joined. */
export function splitNames([row]: readonly JoinedNames[]): string[] {
  return row?.names == null ? [] : row.names.split(SEPARATOR)
}
