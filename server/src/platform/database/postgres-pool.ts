import type { Pool as DriverPool, PoolClient, PoolConfig, QueryResult } from 'pg'
import type { PostgresPool as PoolOfDialect, PostgresPoolClient, PostgresQueryResult } from 'kysely'
import { DatabaseUnavailableError, isConnectionLost, toUnavailable } from './postgres-error.ts'

const CONNECT_TIMEOUT_MS = 5_000
const IDLE_TIMEOUT_MS = 30_000
/** A connection ends after so long, so that it is not for ever with a server that others have left. */
const MAX_LIFETIME_S = 1_800
const KEEP_ALIVE_DELAY_MS = 10_000
/** The oldest version that this is tried with. */
const MIN_VERSION = 150_000

/** Where a server listens; a host that begins with a slash is the folder of its unix socket. */
export interface PostgresServer {
  readonly host: string
  readonly port: number
}

const nameOf = ({ host, port }: PostgresServer) => `${host}:${port}`

/** What stands for a statement of the query builder. */
export interface Statements {
  /** How a transaction begins, as one or several statements. */
  readonly begin: string
  /** Ends it well, with statements of which the last one is the commit itself. */
  readonly commit: (run: (sql: string) => Promise<void>) => Promise<void>
}

/** What the dialect of the query builder asks of a pool, over one or several servers of which one is the primary. */
export class PrimaryPool implements PoolOfDialect {
  readonly #servers: readonly (PostgresServer & { readonly pool: DriverPool })[]
  readonly #statements: Statements
  #current = 0

  /**
   * @param servers the same database under each address; the one that may be written to is found.
   * @param open makes the driver's pool for one of them.
   */
  constructor(
    servers: readonly PostgresServer[],
    open: (server: PostgresServer) => DriverPool,
    statements: Statements,
  ) {
    this.#servers = servers.map((server) => ({ ...server, pool: open(server) }))
    this.#statements = statements
  }

  /**
   * A connection to the primary. Where that has gone elsewhere, the other servers are asked.
   * @throws DatabaseUnavailableError of the last one asked
   */
  async connect(): Promise<PostgresPoolClient> {
    let failure: unknown
    for (let tries = 0; tries < this.#servers.length; tries++) {
      const index = this.#current
      const server = this.#servers[index]
      if (server === undefined) break
      try {
        const client = await server.pool.connect()
        return new PooledConnection(client, nameOf(server), this.#statements)
      } catch (error) {
        failure = toUnavailable(error, nameOf(server))
        // Many find out at once that a server is gone: only the first of them goes on to the next one.
        if (this.#current === index) this.#current = (index + 1) % this.#servers.length
      }
    }
    throw failure
  }

  /** The server that was the primary when it was last asked. */
  get primary(): PostgresServer | undefined {
    return this.#servers[this.#current]
  }

  async end(): Promise<void> {
    await Promise.all(this.#servers.map(async ({ pool }) => pool.end()))
  }
}

/** What every connection has in common. */
export function connectionDefaults(types: PoolConfig['types']): PoolConfig {
  return {
    types,
    application_name: 'entrepot',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    maxLifetimeSeconds: MAX_LIFETIME_S,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
  }
}

/**
 * Refuses a server that is too old, that may not be written to, or that would change what is stored in it.
 * @throws DatabaseUnavailableError
 */
export async function checkServer(client: { query(text: string): Promise<QueryResult> }): Promise<void> {
  const { rows } = await client.query(
    `select current_setting('server_version_num')::int4 as version, pg_is_in_recovery() as replica,
      current_setting('transaction_read_only') = 'on' as readonly, current_setting('server_encoding') as encoding`,
  )
  const [found]: { version?: unknown; replica?: unknown; readonly?: unknown; encoding?: unknown }[] = rows
  if (typeof found?.version !== 'number' || found.version < MIN_VERSION) {
    throw new DatabaseUnavailableError('this PostgreSQL is older than 15: upgrade it')
  }
  if (found.replica === true) {
    throw new DatabaseUnavailableError('this server is a replica, which cannot be written to: name the primary')
  }
  if (found.readonly === true) {
    throw new DatabaseUnavailableError(
      'this database is read-only: set default_transaction_read_only to off for it and its user',
    )
  }
  if (found.encoding !== 'UTF8') {
    throw new DatabaseUnavailableError("the encoding of this database is not UTF8: create it with encoding 'UTF8'")
  }
}

/** A connection that was taken from the pool; one that has failed does not go back. */
class PooledConnection implements PostgresPoolClient {
  readonly #client: PoolClient
  readonly #server: string
  readonly #statements: Statements
  /** Without it, a connection that ends between two statements would end the process. */
  readonly #onError = () => void (this.#isLost = true)
  #isLost = false

  constructor(client: PoolClient, server: string, statements: Statements) {
    this.#client = client
    client.on('error', this.#onError)
    this.#server = server
    this.#statements = statements
  }

  query<Row>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>>
  query(cursor: unknown): never
  async query<Row>(sql: unknown, parameters: readonly unknown[] = []): Promise<PostgresQueryResult<Row>> {
    if (sql === 'begin') {
      await this.#runAll(this.#statements.begin, 'BEGIN')
      return { command: 'SELECT', rowCount: 0, rows: [] }
    }
    if (sql === 'commit') {
      await this.#statements.commit(async (statements) => this.#runAll(statements, 'COMMIT'))
      return { command: 'SELECT', rowCount: 0, rows: [] }
    }
    if (sql === 'rollback') {
      await this.#rollBack()
      return { command: 'SELECT', rowCount: 0, rows: [] }
    }
    return this.#run(async () => {
      // Unnamed, so that the next statement may run on another connection of a pooler.
      const result = await this.#client.query(String(sql), parameters.map(withoutNul))
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever writes a query says what its rows are
      return { command: asCommand(result.command), rowCount: result.rowCount ?? 0, rows: result.rows as Row[] }
    })
  }

  release(): void {
    this.#client.off('error', this.#onError)
    this.#client.release(this.#isLost)
  }

  /** Several statements go in one message; a commit that the server turned into a rollback is none. */
  async #runAll(sql: string, ending: 'BEGIN' | 'COMMIT'): Promise<void> {
    await this.#run(async () => {
      const answer: QueryResult | QueryResult[] = await this.#client.query(sql)
      const last = Array.isArray(answer) ? answer.at(-1) : answer
      if (ending === 'COMMIT' && last?.command !== 'COMMIT') throw new DatabaseUnavailableError('nothing was committed')
    })
  }

  /** What cannot be rolled back ends with its connection; the reason is the error before it. */
  async #rollBack(): Promise<void> {
    try {
      if (!this.#isLost) await this.#client.query('rollback')
    } catch {
      this.#isLost = true
    }
  }

  async #run<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      this.#isLost ||= isConnectionLost(error)
      throw toUnavailable(error, this.#server)
    }
  }
}

type Command = PostgresQueryResult<unknown>['command']

function asCommand(command: string): Command {
  return command === 'INSERT' || command === 'UPDATE' || command === 'DELETE' || command === 'MERGE'
    ? command
    : 'SELECT'
}

/**
 * PostgreSQL takes no text with a NUL. No name, tag, digest or id has one: U+0001 stands in the same place of their
 * order, and is as unknown.
 */
function withoutNul(value: unknown): unknown {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\u0001') : value
}
