/**
 * Runs tests with metadata in PostgreSQL instead of SQLite: `node test/on-postgres.ts 'test/conformance/*.test.ts'`.
 * It starts a server in a temporary folder for that, and removes it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startPostgres } from './postgres-cluster.ts'

// What is stored goes with the folder in any case.
const cluster = await startPostgres({ fsync: 'off', max_connections: '500' })
try {
  const tests = spawn(process.execPath, ['--test', '--test-timeout=900000', ...process.argv.slice(2)], {
    env: { ...process.env, ENTREPOT_TEST_DATABASE: cluster.url('postgres') },
    stdio: 'inherit',
  })
  const [code]: unknown[] = await once(tests, 'exit')
  process.exitCode = typeof code === 'number' ? code : 1
} finally {
  await cluster.remove()
}
