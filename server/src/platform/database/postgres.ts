import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionOptions } from 'node:tls'
import type { Client, ClientBase, ClientConfig, CustomTypesConfig, Pool, PoolConfig } from 'pg'
import type { Logger } from '#platform/log'
import { copyToSqlite } from './copy-to-sqlite.ts'
import type { Connection, Database, Transaction } from './database.ts'
import { PostgresChanges } from './postgres-changes.ts'
import { DatabaseUnavailableError, isCollision, isPostgresError } from './postgres-error.ts'
import { connectionDefaults, PrimaryPool, type Statements } from './postgres-pool.ts'
import { type PostgresServer, Primary } from './postgres-primary.ts'
import { PostgresTables } from './postgres-tables.ts'
import { SilenceWatch } from './silence-watch.ts'
import { HandleEmptyInListsPlugin, Kysely, PostgresDialect, replaceWithNoncontingentExpression, sql } from 'kysely'

/** How long a start waits for a server that is only starting, too. */
const START_TIMEOUT_MS = 5_000
const START_PAUSE_MS = 250
/** How long a transaction that meets others is done again. */
const RETRY_TIMEOUT_MS = 10_000
const RETRY_PAUSE_MS = 4
const MAX_RETRY_PAUSE_MS = 250
/** A server that says nothing at all is given so much longer than a statement may take. */
const SILENCE_MS = 5_000
/** Whether a server is there, and is the primary, is asked with little patience. */
const ASKING = { connectionTimeoutMillis: 3_000, query_timeout: 3_000 }
const LOOK_AROUND_MS = 10_000
/** The type of whole numbers of 8 bytes (postgresql.org/docs/15/datatype-oid.html). */
const INT8 = 20

export interface PostgresOptions {
  /** The same database under each address; the primary is found. */
  readonly servers: readonly PostgresServer[]
  readonly user: string | undefined
  readonly password: string | undefined
  readonly database: string | undefined
  /** Undefined for no TLS. */
  readonly tls: PostgresTls | undefined
  /** How many connections there are at most, besides one that listens. */
  readonly connections: number
  readonly statementTimeoutMs: number
  readonly lockTimeoutMs: number
}

interface PostgresTls {
  /** What is asked of the server's certificate: nothing, to be signed by an authority, or to be of that host, too. */
  readonly mode: 'require' | 'verify-ca' | 'verify-full'
  /** Files in PEM. */
  readonly authorities: string | undefined
  readonly certificate: string | undefined
  readonly key: string | undefined
}

/**
 * Connects to PostgreSQL. A transaction is serializable: what it did is as if no other one had gone on beside it. Where
 * that cannot be had it is done again, so that its work must have no effect but on the database.
 * @throws DatabaseUnavailableError when no server can be used; one that is only starting is waited for 5 seconds.
 */
export async function openPostgres(options: PostgresOptions, log: Logger): Promise<Database> {
  // Whoever keeps metadata in SQLite need not wait for it.
  const { default: pg } = await import('pg')
  const common: ClientConfig = { ...connectionDefaults(typesOf(pg.types)), ...identityOf(options) }
  const primary = new Primary(options.servers)
  const connect = async (server: PostgresServer, limits: ClientConfig = {}) => {
    const client = new pg.Client({ ...common, ...server, ...limits })
    await client.connect()
    return client
  }
  const watch = new SilenceWatch<PostgresServer>(async (server) => answers(async () => connect(server, ASKING)))
  const open = (server: PostgresServer) => {
    const onConnect = async (client: ClientBase) => primary.check(client, server)
    return logLosses(new pg.Pool({ ...common, ...server, ...limitsOf(options), onConnect }), log)
  }
  const lookAround = async () => primary.lookAround(async (server) => connect(server, ASKING))
  await lookAround()
  const openPool = (statements: Statements) => new PrimaryPool({ primary, open, watch }, statements)
  // Nothing is in an empty list: SQLite knows that, PostgreSQL does not take one.
  const emptyLists = new HandleEmptyInListsPlugin({ strategy: replaceWithNoncontingentExpression })
  const readers = openPool({
    begin: 'begin isolation level repeatable read read only',
    commit: async (run) => run('commit'),
  })
  const read = new Kysely<object>({ dialect: new PostgresDialect({ pool: readers }), plugins: [emptyLists] })
  try {
    await waitForServer(read)
  } catch (error) {
    await read.destroy()
    throw error
  }
  const changes = new PostgresChanges({
    connect: async () => connect(primary.current, ASKING),
    send: async (statement) => void (await sql.raw(statement).execute(read)),
    log,
  })
  const write = new Kysely<object>({
    dialect: new PostgresDialect({
      pool: openPool({
        begin: beginningOf(options),
        commit: async (run) => changes.whileCommitting(async (notification) => run(`${notification}; commit`)),
      }),
    }),
    plugins: [emptyLists, new PostgresTables()],
  })
  const looking = setInterval(() => void lookAround(), LOOK_AROUND_MS).unref()
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
      clearInterval(looking)
      await changes.end()
      await read.destroy()
      await write.destroy()
    },
  }
}

/**
 * Set for the transaction alone, since a pooler gives the connection to others after it. Scans of whole tables would
 * make each transaction meet every other one that writes to them.
 */
function beginningOf({ statementTimeoutMs, lockTimeoutMs }: PostgresOptions): string {
  const settings = {
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    enable_seqscan: 'off',
  }
  return [
    'begin isolation level serializable read write',
    ...Object.entries(settings).map(([name, value]) => `set local ${name} = ${value}`),
  ].join('; ')
}

/** The pool replaces a connection that is lost while nobody uses it. */
function logLosses(pool: Pool, log: Logger): Pool {
  return pool.on('error', (error) => log.warn({ err: error }, 'an idle connection to PostgreSQL was lost'))
}

/** Reading and writing have a half each: whoever writes may have to read beside it. */
function limitsOf({ connections, statementTimeoutMs }: PostgresOptions): PoolConfig {
  return { max: Math.ceil(connections / 2), query_timeout: statementTimeoutMs + SILENCE_MS }
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

/** Whether a server answers to who connects, if only with a refusal. */
async function answers(connect: () => Promise<Client>): Promise<boolean> {
  try {
    const client = await connect()
    void client.end().catch(() => {})
    return true
  } catch (error) {
    return isPostgresError(error)
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

function identityOf({ user, password, database, tls }: PostgresOptions): ClientConfig {
  return { user, password, database, ssl: tls === undefined ? false : tlsOf(tls) }
}

/** @throws the system's error when a file cannot be read. */
function tlsOf({ mode, authorities, certificate, key }: PostgresTls): ConnectionOptions {
  const options: ConnectionOptions = {
    rejectUnauthorized: mode !== 'require',
    ca: readText(authorities),
    cert: readText(certificate),
    key: readText(key),
  }
  return mode === 'verify-ca' ? { ...options, checkServerIdentity: () => undefined } : options
}

function readText(file: string | undefined): string | undefined {
  return file === undefined ? undefined : readFileSync(file, 'utf8')
}

function parseWhole(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is more than a number can hold`)
  return value
}

/** Whole numbers come as numbers of JavaScript, as from SQLite; one that is none is an error. */
function typesOf(standard: CustomTypesConfig): CustomTypesConfig {
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the driver's own signature has an overload for each type
    getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
      oid === INT8 && format !== 'binary'
        ? parseWhole
        : standard.getTypeParser(oid, format)) as typeof standard.getTypeParser,
  }
}
