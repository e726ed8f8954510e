import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '#platform/log'
import { copyToSqlite } from './copy-to-sqlite.ts'
import type { Connection, Database, Transaction } from './database.ts'
import { PostgresChanges } from './postgres-changes.ts'
import { connectPostgres, type PostgresOptions } from './postgres-connections.ts'
import { DatabaseUnavailableError, isCollision } from './postgres-error.ts'
import { PostgresTables } from './postgres-tables.ts'
import { HandleEmptyInListsPlugin, Kysely, PostgresDialect, replaceWithNoncontingentExpression, sql } from 'kysely'

/** How long a start waits for a server that is only starting, too. */
const START_TIMEOUT_MS = 5_000
const START_PAUSE_MS = 250
/** How long a transaction that meets others is done again. */
const RETRY_TIMEOUT_MS = 10_000
const RETRY_PAUSE_MS = 4
const MAX_RETRY_PAUSE_MS = 250

/**
 * Connects to PostgreSQL. A transaction is serializable: what it did is as if no other one had gone on beside it. Where
 * that cannot be had it is done again, so that its work must have no effect but on the database.
 * @throws DatabaseUnavailableError when no server can be used; one that is only starting is waited for 5 seconds.
 */
export async function openPostgres(options: PostgresOptions, log: Logger): Promise<Database> {
  const connections = await connectPostgres(options, log)
  // Nothing is in an empty list: SQLite knows that, PostgreSQL does not take one.
  const emptyLists = new HandleEmptyInListsPlugin({ strategy: replaceWithNoncontingentExpression })
  const readers = connections.openPool({
    begin: 'begin isolation level repeatable read read only',
    commit: async (run) => run('commit'),
  })
  const read = new Kysely<object>({ dialect: new PostgresDialect({ pool: readers }), plugins: [emptyLists] })
  try {
    await waitForServer(read)
  } catch (error) {
    connections.lookNoMore()
    await read.destroy()
    throw error
  }
  const changes = new PostgresChanges({
    connect: async () => connections.connect(),
    send: async (statement) => void (await sql.raw(statement).execute(read)),
    log,
  })
  const write = new Kysely<object>({
    dialect: new PostgresDialect({
      pool: connections.openPool({
        begin: beginningOf(options),
        commit: async (run) => changes.whileCommitting(async (notification) => run(`${notification}; commit`)),
      }),
    }),
    plugins: [emptyLists, new PostgresTables()],
  })
  return {
    read,
    get version() {
      return changes.version
    },
    transaction: async (work) => repeatedly(write, work),
    check: async () => {
      const { rows } = await sql<{ readonly: string }>`show transaction_read_only`.execute(read)
      if (Object.values(rows[0] ?? {})[0] === 'on') throw new DatabaseUnavailableError('the database is read-only')
    },
    copyTo: async (file, migrations) =>
      read.transaction().execute(async (snapshot) => copyToSqlite(snapshot, file, migrations)),
    close: async () => {
      connections.lookNoMore()
      await changes.end()
      await read.destroy()
      await write.destroy()
    },
  }
}

/**
 * Set for the transaction alone, since a pooler gives the connection to others after it. Scans of whole tables would
 * make each transaction meet every other one that writes to them. Where PostgreSQL scans one all the same, it takes the
 * plan for so dear that it would compile it first, for 80 ms on a new connection.
 */
function beginningOf({ statementTimeoutMs, lockTimeoutMs }: PostgresOptions): string {
  const settings = {
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    enable_seqscan: 'off',
    jit: 'off',
  }
  return [
    'begin isolation level serializable read write',
    ...Object.entries(settings).map(([name, value]) => `set local ${name} = ${value}`),
  ].join('; ')
}

async function repeatedly<Result>(
  write: Connection,
  work: (transaction: Transaction) => Promise<Result>,
): Promise<Result> {
  const deadline = performance.now() + RETRY_TIMEOUT_MS
  for (let attempt = 0; ; attempt++) {
    try {
      return await write.transaction().execute(work)
    } catch (error) {
      if (!isCollision(error)) throw error
      if (performance.now() > deadline) {
        throw new DatabaseUnavailableError('other transactions came in between again and again', { cause: error })
      }
    }
    await sleep(Math.random() * Math.min(RETRY_PAUSE_MS * 2 ** attempt, MAX_RETRY_PAUSE_MS))
  }
}

/** Asks until the server answers; what waiting cannot change is thrown at once. */
async function waitForServer(read: Connection): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      await sql`select 1`.execute(read)
      return
    } catch (error) {
      if (!isStarting(error) || performance.now() > deadline) throw error
    }
    await sleep(START_PAUSE_MS)
  }
}

/** Whether nothing listens yet, or a server that does is not ready. */
function isStarting(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  if (!(cause instanceof Error) || !('code' in cause)) return false
  return ['ECONNREFUSED', 'ENOENT', '57P03'].includes(String(cause.code))
}
