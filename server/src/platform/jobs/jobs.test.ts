import { pino } from 'pino'
import { migrate } from '#platform/database'
import { testOnEngines, type TestedDatabase } from '../../../../test/metadata-engines.ts'
import { jobMigrations } from './index.ts'
import { PROMISES, type Stand } from './jobs.contract.ts'

async function withStand(database: TestedDatabase, work: (stand: Stand) => Promise<void>): Promise<void> {
  const stand: Stand = { open: async () => database.open(), runners: [] }
  await migrate(await database.open(), jobMigrations)
  try {
    await work(stand)
  } finally {
    await Promise.all(stand.runners.map(async (runner) => runner.end()))
  }
}

await testOnEngines(
  Object.fromEntries(
    Object.entries(PROMISES).map(([promise, work]) => [
      promise,
      async (database: TestedDatabase) => withStand(database, work),
    ]),
  ),
  { log: pino({ enabled: false }) },
)
