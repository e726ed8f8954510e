import type { Connection } from './database.ts'
import { isPostgres } from './engine.ts'
import { sql } from 'kysely'

/**
 * Locks by key, of all processes that work on one database. They belong to a transaction and end with it, so that no
 * crash leaves one, and a pooler may give the connection to others after it. One process alone works on SQLite: there
 * they lock nothing.
 */
const WAIT_MS = 10_000

/** Waits until no other transaction has the key. */
export async function lockKey(connection: Connection, key: string): Promise<void> {
  if (isPostgres(connection)) await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(connection)
}

/** Takes those of the keys that no other transaction has, and gives them. */
export async function lockFreeKeys<Key extends string>(connection: Connection, keys: readonly Key[]): Promise<Key[]> {
  if (!isPostgres(connection) || keys.length === 0) return [...keys]
  const taken = await sql<{ key: Key }>`select key from unnest(${keys}::text[]) as key
    where pg_try_advisory_xact_lock(hashtextextended(key, 0))`.execute(connection)
  return taken.rows.map(({ key }) => key)
}

/**
 * Runs work within a transaction that is not serializable, in which it may lock keys. Each of its reads sees what was
 * committed until then: what others did while a key was waited for, too. It is for work beside the database, such as on a
 * file, and for rows that nobody remembers: others are not told of what it writes.
 * @param read the connections for reading.
 */
export async function besideOthers<Result>(
  read: Connection,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  if (!isPostgres(read)) return work(read)
  return read.connection().execute(async (connection) => {
    await sql
      .raw(`begin isolation level read committed read write; set local lock_timeout = ${WAIT_MS}`)
      .execute(connection)
    try {
      const result = await work(connection)
      await sql.raw('commit').execute(connection)
      return result
    } catch (error) {
      await sql.raw('rollback').execute(connection)
      throw error
    }
  })
}
