import type { RawBuilder } from 'kysely'
import { steadyNow } from '#platform/clock'
import type { Connection } from './database.ts'
import { PostgresAdapter, sql } from 'kysely'

/** Whether a connection is one to PostgreSQL: for the few questions that the engines are asked in different words. */
export function isPostgres(connection: Connection): boolean {
  return connection.getExecutor().adapter instanceof PostgresAdapter
}

/** Whether there is a table of that name where names without a schema are looked for. */
export async function hasTable(connection: Connection, name: string): Promise<boolean> {
  const query = isPostgres(connection)
    ? sql`select 1 where to_regclass(${name}) is not null`
    : sql`select 1 from sqlite_schema where type = 'table' and name = ${name}`
  return (await query.execute(connection)).rows.length > 0
}

/**
 * The time that all instances share, in milliseconds since 1970: PostgreSQL's, as their own clocks may differ; on SQLite,
 * in whose folder one process works, the time of that.
 */
export function sharedNow(connection: Connection): RawBuilder<number> {
  return isPostgres(connection)
    ? sql<number>`cast(extract(epoch from clock_timestamp()) * 1000 as bigint)`
    : sql<number>`cast(${steadyNow()} as integer)`
}
