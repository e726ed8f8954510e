import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { pino } from 'pino'
import { type Database, migrate, openPostgres, openSqlite } from '#platform/database'
import {
  hasPostgres,
  isPostgresPresent,
  type PostgresCluster,
  startPostgres,
} from '../../../../test/postgres-cluster.ts'
import { jobMigrations } from './index.ts'
import { PROMISES, type Stand } from './jobs.contract.ts'

/** @param connect opens the database once more; all are closed at the end. */
async function withStand(connect: () => Promise<Database>, work: (stand: Stand) => Promise<void>): Promise<void> {
  const opened: Database[] = []
  const stand: Stand = {
    open: async () => {
      const database = await connect()
      opened.push(database)
      return database
    },
    runners: [],
  }
  try {
    await migrate(await stand.open(), jobMigrations)
    await work(stand)
  } finally {
    await Promise.all(stand.runners.map(async (runner) => runner.end()))
    await Promise.all([...new Set(opened)].map(async (database) => database.close()))
  }
}

suite('on SQLite', { concurrency: 4 }, () => {
  for (const [promise, work] of Object.entries(PROMISES)) {
    test(promise, async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'entrepot-jobs-'))
      t.after(async () => rm(folder, { recursive: true, force: true }))
      // One process works in a folder: its runners share the connection.
      const database = openSqlite(join(folder, 'entrepot.db'))
      await withStand(async () => database, work)
    })
  }
})

suite('on PostgreSQL', { concurrency: 4 }, async () => {
  const cluster: PostgresCluster | undefined = (await hasPostgres()) ? await startPostgres({ fsync: 'off' }) : undefined
  after(async () => cluster?.remove())
  for (const [promise, work] of Object.entries(PROMISES)) {
    test(promise, async (t) => {
      if (!(await isPostgresPresent(t)) || cluster === undefined) return
      const name = `jobs_${randomBytes(8).toString('hex')}`
      await cluster.run(`create database ${name}`)
      const options = {
        servers: [{ host: '127.0.0.1', port: cluster.port }],
        user: 'postgres',
        password: undefined,
        database: name,
        tls: undefined,
        connections: 4,
        statementTimeoutMs: 10_000,
        lockTimeoutMs: 5_000,
      }
      await withStand(async () => openPostgres(options, pino({ enabled: false })), work)
    })
  }
})
