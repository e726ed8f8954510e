import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test, type TestContext } from 'node:test'
import { type Database, openPostgres, openSqlite } from '../server/src/platform/database/index.ts'
import { hasPgBouncer, isPgBouncerPresent, startPgBouncer } from './pgbouncer.ts'
import { hasPostgres, isPostgresPresent, type PostgresCluster, startPostgres } from './postgres-cluster.ts'

type Logger = Parameters<typeof openPostgres>[1]

/** An empty database of a test's own. */
export interface TestedDatabase {
  /** Opens it once more, as another instance does; on SQLite, where one process works, it is the same. */
  open(): Promise<Database>
  /** Whether it is told what others commit. */
  readonly isTold: boolean
}

/** What has to hold: each promise with its test. */
export type Promises = Readonly<Record<string, (database: TestedDatabase) => Promise<void>>>

/**
 * Tests promises on SQLite, on PostgreSQL, and on PostgreSQL through PgBouncer.
 * @param options.promisesToMany what holds where several processes work on one database.
 * @param options.log takes what the databases have to say.
 */
export async function testOnEngines(
  promises: Promises,
  { promisesToMany = {}, log }: { promisesToMany?: Promises; log: Logger },
): Promise<void> {
  const cluster = (await hasPostgres()) ? await startPostgres({ fsync: 'off', max_connections: '300' }) : undefined
  after(async () => cluster?.remove())
  const pooler = cluster !== undefined && hasPgBouncer() ? await startPgBouncer({ after }, cluster) : undefined
  suite('on SQLite', { concurrency: 4 }, () => {
    testAll(promises, async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'entrepot-database-'))
      t.after(async () => rm(folder, { recursive: true, force: true }))
      const database = openSqlite(join(folder, 'entrepot.db'))
      return { open: async () => database, isTold: true }
    })
  })
  suite('on PostgreSQL', { concurrency: 4 }, () => {
    testAll({ ...promises, ...promisesToMany }, async (t) => {
      if (!(await isPostgresPresent(t)) || cluster === undefined) return undefined
      const server = { host: '127.0.0.1', port: cluster.port, user: 'postgres', password: undefined }
      return { open: await createDatabase(cluster, server, log), isTold: true }
    })
  })
  suite('on PostgreSQL through PgBouncer', { concurrency: 4 }, () => {
    testAll({ ...promises, ...promisesToMany }, async (t) => {
      if (!(await isPgBouncerPresent(t)) || cluster === undefined || pooler === undefined) return undefined
      const { hostname, port, username, password } = new URL(pooler)
      const server = { host: hostname, port: Number(port), user: username, password }
      return { open: await createDatabase(cluster, server, log), isTold: false }
    })
  })
}

function testAll(promises: Promises, create: (t: TestContext) => Promise<TestedDatabase | undefined>): void {
  for (const [promise, work] of Object.entries(promises)) {
    test(promise, async (t) => {
      const created = await create(t)
      if (created === undefined) return
      const opened = new Set<Database>()
      const open = async () => {
        const database = await created.open()
        opened.add(database)
        return database
      }
      try {
        await work({ ...created, open })
      } finally {
        await Promise.all([...opened].map(async (database) => database.close()))
      }
    })
  }
}

/** Creates a database, and gives what opens it through a server. */
async function createDatabase(
  cluster: PostgresCluster,
  { user, password, ...server }: { host: string; port: number; user: string; password: string | undefined },
  log: Logger,
): Promise<() => Promise<Database>> {
  const name = `tested_${randomBytes(8).toString('hex')}`
  await cluster.run(`create database ${name} owner ${user}`)
  const options = {
    servers: [server],
    user,
    password,
    database: name,
    tls: undefined,
    connections: 4,
    statementTimeoutMs: 10_000,
    lockTimeoutMs: 5_000,
  }
  return async () => openPostgres(options, log)
}
