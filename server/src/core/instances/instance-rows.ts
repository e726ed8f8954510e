import type { Generated } from 'kysely'
import { type Connection, sharedNow, sql } from '#platform/database'

type InstanceTables = {
  /** The processes that work on one PostgreSQL database, and when each was last heard of, by that server's clock. */
  instances: { id: string; is_alone: number; is_collecting: Generated<number>; seen_at: number }
}

/** The table of who works on the database, which is true of no copy of it. */
export const INSTANCES_TABLE = 'instances'
/** Who has not been heard of for so long counts as gone. */
export const DEAD_AFTER_MS = 8_000
/** Rows of those that are gone stay so long, for whoever looks for the reason of something. */
const KEEP_MS = 3_600_000

const tables = (connection: Connection) => connection.withTables<InstanceTables>()

/** A process that works on the database. */
export interface InstanceRow {
  readonly id: string
  /** Whether nobody else may work there meanwhile. */
  readonly isAlone: boolean
  /** Whether its garbage collector runs. */
  readonly isCollecting: boolean
  readonly seenAt: number
}

/** Those that count as alive. */
export async function listAlive(connection: Connection): Promise<InstanceRow[]> {
  const rows = await tables(connection)
    .selectFrom('instances')
    .selectAll()
    .where('seen_at', '>', sql<number>`${sharedNow(connection)} - ${sql.lit(DEAD_AFTER_MS)}`)
    .execute()
  return rows.map((row) => ({
    id: row.id,
    isAlone: row.is_alone !== 0,
    isCollecting: row.is_collecting !== 0,
    seenAt: row.seen_at,
  }))
}

/** Says that a process works on the database; rows of those that are gone for long go. */
export async function insertInstance(connection: Connection, id: string, isAlone: boolean): Promise<void> {
  await tables(connection)
    .deleteFrom('instances')
    .where('seen_at', '<', sql<number>`${sharedNow(connection)} - ${sql.lit(KEEP_MS)}`)
    .execute()
  await tables(connection)
    .insertInto('instances')
    .values({ id, is_alone: Number(isAlone), seen_at: sharedNow(connection) })
    .execute()
}

/**
 * Says that a process is still there. One statement without a transaction, which would tell everybody to forget what
 * they have read.
 */
export async function touchInstance(connection: Connection, id: string, isAlone: boolean): Promise<void> {
  await tables(connection)
    .insertInto('instances')
    .values({ id, is_alone: Number(isAlone), seen_at: sharedNow(connection) })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ seen_at: sharedNow(connection) }))
    .execute()
}

/** Says whether the process collects garbage. */
export async function markCollecting(connection: Connection, id: string, isCollecting: boolean): Promise<void> {
  await tables(connection)
    .updateTable('instances')
    .set({ is_collecting: Number(isCollecting) })
    .where('id', '=', id)
    .execute()
}

export async function deleteInstance(connection: Connection, id: string): Promise<void> {
  await tables(connection).deleteFrom('instances').where('id', '=', id).execute()
}
