/**
 * Runs tests with blobs in a bucket instead of a folder: `node test/on-minio.ts 'test/conformance/*.test.ts'`.
 * It starts a MinIO server in a temporary folder for that, and removes it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startMinio } from './minio-server.ts'

const minio = await startMinio()
try {
  const tests = spawn(process.execPath, ['--test', '--test-timeout=900000', ...process.argv.slice(2)], {
    env: { ...process.env, ENTREPOT_TEST_STORAGE: JSON.stringify(minio.storage) },
    stdio: 'inherit',
  })
  const [code]: unknown[] = await once(tests, 'exit')
  process.exitCode = typeof code === 'number' ? code : 1
} finally {
  await minio.remove()
}
