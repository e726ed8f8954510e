import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import type { Client, ClientBase, ClientConfig, CustomTypesConfig, Pool, PoolConfig } from 'pg'
import type { Logger } from '#platform/log'
import { isPostgresError } from './postgres-error.ts'
import { connectionDefaults, PrimaryPool, type Statements } from './postgres-pool.ts'
import { type PostgresServer, Primary } from './postgres-primary.ts'
import { SilenceWatch } from './silence-watch.ts'

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

/** What connects to the servers of one database. */
export interface PostgresConnections {
  /** A pool of connections to the primary. */
  openPool(statements: Statements): PrimaryPool
  /** One more connection to it, which the caller ends. */
  connect(): Promise<Client>
  /** No longer looks for a server that was promoted. */
  lookNoMore(): void
}

/** Finds the primary, and goes on looking for it where several servers are named. Whether there is one shows later. */
export async function connectPostgres(options: PostgresOptions, log: Logger): Promise<PostgresConnections> {
  // Whoever keeps metadata in SQLite need not wait for it.
  const { default: pg } = await import('pg')
  const common: ClientConfig = { ...connectionDefaults(typesOf(pg.types)), ...identityOf(options) }
  const primary = new Primary(options.servers)
  const connect = async (server: PostgresServer) => {
    const client = new pg.Client({ ...common, ...server, ...ASKING })
    await client.connect()
    return client
  }
  const watch = new SilenceWatch<PostgresServer>(async (server) => answers(async () => connect(server)))
  const open = (server: PostgresServer) => {
    const onConnect = async (client: ClientBase) => primary.check(client, server)
    return logLosses(new pg.Pool({ ...common, ...server, ...limitsOf(options), onConnect }), log)
  }
  await primary.lookAround(connect)
  const looking = setInterval(() => void primary.lookAround(connect), LOOK_AROUND_MS).unref()
  return {
    openPool: (statements) => new PrimaryPool({ primary, open, watch }, statements),
    connect: async () => connect(primary.current),
    lookNoMore: () => clearInterval(looking),
  }
}

/** The pool replaces a connection that is lost while nobody uses it. */
function logLosses(pool: Pool, log: Logger): Pool {
  return pool.on('error', (error) => log.warn({ err: error }, 'an idle connection to PostgreSQL was lost'))
}

/** Reading and writing have a half each: whoever writes may have to read beside it. */
function limitsOf({ connections, statementTimeoutMs }: PostgresOptions): PoolConfig {
  return { max: Math.ceil(connections / 2), query_timeout: statementTimeoutMs + SILENCE_MS }
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
