import type { QueryResult } from 'pg'
import { DatabaseUnavailableError } from './postgres-error.ts'

/** The oldest version that this is tried with. */
const MIN_VERSION = 150_000
/** The first digits of the name of a file of PostgreSQL's log, in hexadecimal. */
const TIMELINE_DIGITS = 8

/** Where a server listens; a host that begins with a slash is the folder of its unix socket. */
export interface PostgresServer {
  readonly host: string
  readonly port: number
}

/** A server as it stands in messages. */
export const nameOf = ({ host, port }: PostgresServer): string => `${host}:${port}`

/** What runs a statement on a connection. */
interface Asked {
  query(text: string): Promise<QueryResult>
}

/**
 * Which of several servers with the same database may be written to. Each promotion begins a timeline with a higher
 * number: a server of a lower one was the primary before, and is refused, though it may not know yet.
 */
export class Primary {
  readonly servers: readonly PostgresServer[]
  #current = 0
  #timeline = 0

  constructor(servers: readonly PostgresServer[]) {
    this.servers = servers
  }

  /** The server to ask next: the primary, when it was last asked. */
  get current(): PostgresServer {
    const server = this.servers[this.#current]
    if (server === undefined) throw new RangeError('no server is named')
    return server
  }

  /** The next one is asked from now on. Many find out at once that a server is gone: only the first of them goes on. */
  leave(server: PostgresServer): void {
    if (this.current === server) this.#current = (this.#current + 1) % this.servers.length
  }

  /**
   * Refuses a server that is too old, that may not be written to, or that would change what is stored in it.
   * @throws DatabaseUnavailableError
   */
  async check(connection: Asked, server: PostgresServer): Promise<void> {
    const { rows } = await connection.query(
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
    // Services that stand for PostgreSQL have one address, and may have no such log.
    if (this.servers.length > 1) this.#compare(server, await timelineOf(connection))
  }

  /**
   * Asks each of several servers. One that was promoted is the primary from then on, though the one before still answers.
   * @param connect opens a connection that gives up soon.
   */
  async lookAround(connect: (server: PostgresServer) => Promise<Asked & { end(): Promise<void> }>): Promise<void> {
    if (this.servers.length === 1) return
    const look = async (server: PostgresServer) => {
      const connection = await connect(server)
      // A server that says nothing does not say goodbye, either.
      await this.check(connection, server).finally(() => void connection.end().catch(() => {}))
    }
    // Those that cannot be used are no news.
    await Promise.allSettled(this.servers.map(look))
  }

  #compare(server: PostgresServer, timeline: number): void {
    if (timeline < this.#timeline) {
      throw new DatabaseUnavailableError(
        `another server was promoted since this one was the primary (its timeline is ${timeline}, that of the other one ` +
          `${this.#timeline}): make it a replica, or take it out of "database.url"`,
      )
    }
    if (timeline === this.#timeline) return
    this.#timeline = timeline
    this.#current = this.servers.indexOf(server)
  }
}

async function timelineOf(connection: Asked): Promise<number> {
  const { rows } = await connection.query('select pg_walfile_name(pg_current_wal_lsn()) as file')
  const [found]: { file?: unknown }[] = rows
  return Number.parseInt(String(found?.file).slice(0, TIMELINE_DIGITS), 16)
}
