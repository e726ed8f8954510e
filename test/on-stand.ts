/**
 * Runs tests with metadata in PostgreSQL, or blobs in S3, or both, instead of SQLite and a folder:
 * `node test/on-stand.ts postgres s3 'test/conformance/*.test.ts'`. It starts the servers in temporary folders for that,
 * and removes them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startMinio } from './minio-server.ts'
import { startPostgres } from './postgres-cluster.ts'

interface Backing {
  readonly environment: Readonly<Record<string, string>>
  remove(): Promise<void>
}

const BACKINGS: Readonly<Record<string, () => Promise<Backing>>> = {
  postgres: async () => {
    // What is stored goes with the folder in any case.
    const cluster = await startPostgres({ fsync: 'off', max_connections: '500' })
    const environment = { ENTREPOT_TEST_DATABASE: cluster.url('postgres') }
    return { environment, remove: async () => cluster.remove() }
  },
  s3: async () => {
    const minio = await startMinio()
    const environment = { ENTREPOT_TEST_MINIO: JSON.stringify({ storage: minio.storage, folder: minio.folder }) }
    return { environment, remove: async () => minio.remove() }
  },
}

const args = process.argv.slice(2)
const backings: Backing[] = []
try {
  for (let start = BACKINGS[args[0] ?? '']; start !== undefined; start = BACKINGS[args[0] ?? '']) {
    backings.push(await start())
    args.shift()
  }
  const env = backings.reduce((all, { environment }) => ({ ...all, ...environment }), process.env)
  const tests = spawn(process.execPath, ['--test', '--test-timeout=900000', ...args], { env, stdio: 'inherit' })
  const [code]: unknown[] = await once(tests, 'exit')
  process.exitCode = typeof code === 'number' ? code : 1
} finally {
  await Promise.all(backings.map(async (backing) => backing.remove()))
}
