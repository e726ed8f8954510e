import { type Connection, isPostgres, sharedNow, sql, type Transaction } from '#platform/database'

type HoldTables = {
  /** Who needs everything that is stored to stay, and until when that holds unless it is said again. */
  garbage_holds: { id: string; held_until: number }
}

/** How long a hold outlives whoever took it. */
export const LEASE_MS = 60_000

const tables = (connection: Connection) => connection.withTables<HoldTables>()

const leaseEnd = (connection: Connection) => sql<number>`${sharedNow(connection)} + ${sql.lit(LEASE_MS)}`

/** Takes a hold. Those that have lapsed go. */
export async function insertHold(transaction: Transaction, id: string): Promise<void> {
  await tables(transaction).deleteFrom('garbage_holds').where('held_until', '<', sharedNow(transaction)).execute()
  await tables(transaction)
    .insertInto('garbage_holds')
    .values({ id, held_until: leaseEnd(transaction) })
    .execute()
}

/** Prolongs a hold. @returns false when it has lapsed, and so may not have held. */
export async function prolongHold(transaction: Transaction, id: string): Promise<boolean> {
  const { numUpdatedRows } = await tables(transaction)
    .updateTable('garbage_holds')
    .set({ held_until: leaseEnd(transaction) })
    .where('id', '=', id)
    .where('held_until', '>', sharedNow(transaction))
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

export async function deleteHold(transaction: Transaction, id: string): Promise<void> {
  await tables(transaction).deleteFrom('garbage_holds').where('id', '=', id).execute()
}

/**
 * Whether anybody holds what is stored; nobody begins to before the transaction ends. It must be what the transaction asks
 * first: on PostgreSQL it then sees what was committed until it has the lock (postgresql.org/docs/15/sql-lock.html).
 */
export async function isHeld(transaction: Transaction): Promise<boolean> {
  if (isPostgres(transaction)) await sql`lock table garbage_holds in share mode`.execute(transaction)
  const now = sharedNow(transaction)
  const row = await tables(transaction)
    .selectFrom('garbage_holds')
    .select('id')
    .where('held_until', '>', now)
    // A later end is that of another clock: of the database that a backup was made of.
    .where('held_until', '<=', leaseEnd(transaction))
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}
