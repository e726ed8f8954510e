/**
 * Runs tests with metadata in PostgreSQL, or blobs in S3, or both, instead of SQLite and a folder:
 * `node test/on-stand.ts postgres s3 'test/conformance/*.test.ts'`. It starts the servers in temporary folders for that,
 * and removes them. S3 is MinIO, or with \`ceph\` the gateway of Ceph.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startCephGateway } from './ceph-gateway.ts'
import { type MinioServer, startMinio } from './minio-server.ts'
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
  s3: async () => s3Backing(await startMinio()),
  // Where it keeps an object on a disk, nobody can say.
  ceph: async () => s3Backing({ ...(await startCephGateway()), folder: '' }),
}

function s3Backing(store: Pick<MinioServer, 'storage' | 'folder' | 'remove'>): Backing {
  const environment = { ENTREPOT_TEST_S3: JSON.stringify({ storage: store.storage, folder: store.folder }) }
  return { environment, remove: async () => store.remove() }
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
