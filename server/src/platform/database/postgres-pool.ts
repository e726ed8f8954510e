import type { Pool as DriverPool, PoolClient, PoolConfig, QueryResult } from 'pg'
import type { PostgresPool as PoolOfDialect, PostgresPoolClient, PostgresQueryResult } from 'kysely'
import { DatabaseUnavailableError, isConnectionLost, toUnavailable } from './postgres-error.ts'
import { nameOf, type PostgresServer, type Primary } from './postgres-primary.ts'
import type { SilenceWatch } from './silence-watch.ts'

const CONNECT_TIMEOUT_MS = 5_000
const IDLE_TIMEOUT_MS = 30_000
/** A connection ends after so long, so that it is not for ever with a server that others have left. */
const MAX_LIFETIME_S = 1_800
const KEEP_ALIVE_DELAY_MS = 10_000
/** The class of warnings (postgresql.org/docs/15/errcodes-appendix.html). */
const WARNING_CLASS = '01'

/** What stands for a statement of the query builder. */
export interface Statements {
  /** How a transaction begins, as one or several statements. */
  readonly begin: string
  /** Ends it well, with statements of which the last one is the commit itself. */
  readonly commit: (run: (sql: string) => Promise<void>) => Promise<void>
}

/** What the dialect of the query builder asks of a pool, over one or several servers of which one is the primary. */
export class PrimaryPool implements PoolOfDialect {
  readonly #primary: Primary
  readonly #pools: ReadonlyMap<PostgresServer, DriverPool>
  readonly #watch: SilenceWatch<PostgresServer>
  readonly #statements: Statements

  /**
   * @param servers.primary finds the one that may be written to.
   * @param servers.open makes the driver's pool for one of them.
   */
  constructor(
    servers: {
      readonly primary: Primary
      readonly open: (server: PostgresServer) => DriverPool
      readonly watch: SilenceWatch<PostgresServer>
    },
    statements: Statements,
  ) {
    this.#primary = servers.primary
    this.#pools = new Map(servers.primary.servers.map((server) => [server, servers.open(server)]))
    this.#watch = servers.watch
    this.#statements = statements
  }

  /**
   * A connection to the primary. Where that has gone elsewhere, the other servers are asked.
   * @throws DatabaseUnavailableError of the last one asked
   */
  async connect(): Promise<PostgresPoolClient> {
    let failure: unknown
    for (let tries = 0; tries < this.#pools.size; tries++) {
      const server = this.#primary.current
      const pool = this.#pools.get(server)
      if (pool === undefined) break
      try {
        const client = await pool.connect()
        const during: During = async (work) =>
          this.#watch.during(server, work, () => {
            this.#primary.leave(server)
            // With a statement under way it closes the connection at once.
            void client.end()
          })
        return new PooledConnection(client, nameOf(server), { statements: this.#statements, during })
      } catch (error) {
        failure = toUnavailable(error, nameOf(server))
        this.#primary.leave(server)
      }
    }
    throw failure
  }

  async end(): Promise<void> {
    await Promise.all([...this.#pools.values()].map(async (pool) => pool.end()))
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

/** Runs what waits for the server, and gives it up when the server is gone. */
type During = <Result>(work: () => Promise<Result>) => Promise<Result>

/** A connection that was taken from the pool; one that has failed does not go back. */
class PooledConnection implements PostgresPoolClient {
  readonly #client: PoolClient
  readonly #server: string
  readonly #statements: Statements
  readonly #during: During
  /** Without it, a connection that ends between two statements would end the process. */
  readonly #onError = () => void (this.#isLost = true)
  #isLost = false

  constructor(client: PoolClient, server: string, how: { statements: Statements; during: During }) {
    this.#client = client
    client.on('error', this.#onError)
    this.#server = server
    this.#statements = how.statements
    this.#during = how.during
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

  /**
   * Several statements go in one message. A commit that the server turned into a rollback is none; nor is one that comes
   * with a warning: a server that gives up waiting for its standby says only so that a failover may lose it.
   */
  async #runAll(sql: string, ending: 'BEGIN' | 'COMMIT'): Promise<void> {
    let warning: string | undefined
    const onNotice = (notice: { readonly code?: string | undefined; readonly message?: string | undefined }) => {
      if (notice.code?.startsWith(WARNING_CLASS) === true) warning = notice.message ?? notice.code
    }
    this.#client.on('notice', onNotice)
    try {
      const answer = await this.#run<QueryResult | QueryResult[]>(async () => this.#client.query(sql))
      const last = Array.isArray(answer) ? answer.at(-1) : answer
      if (ending === 'BEGIN') return
      if (last?.command !== 'COMMIT') throw new DatabaseUnavailableError('nothing was committed')
      if (warning !== undefined) throw new DatabaseUnavailableError(`what was committed may be lost: ${warning}`)
    } finally {
      this.#client.off('notice', onNotice)
    }
  }

  /** What cannot be rolled back ends with its connection; the reason is the error before it. */
  async #rollBack(): Promise<void> {
    try {
      if (!this.#isLost) await this.#during(async () => this.#client.query('rollback'))
    } catch {
      this.#isLost = true
    }
  }

  async #run<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await this.#during(work)
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
