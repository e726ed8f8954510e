import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startRegistry } from '../harness.ts'
import { isMinioPresent, startMinio } from '../minio-server.ts'
import { RegistryClient } from '../registry-client.ts'
import { readBlocks, type Step, stepsOf, toPattern } from './guide-text.ts'

const BIN = fileURLToPath(new URL('../../bin', import.meta.url))
const IN_A_BUCKET = 'Keep backups in a bucket'

/**
 * Carries out steps of the guide beside a registry with an image, which is then in the installation that they restore.
 * @param drill the folder of that.
 */
async function carryOut(
  t: TestContext,
  { steps, drill }: { steps: readonly Step[]; drill: string },
  variables: Record<string, string> = {},
): Promise<void> {
  const registry = await startRegistry(t)
  const folder = dirname(registry.dataDirectory)
  await symlink(BIN, join(folder, 'bin'))
  const { descriptor } = await new RegistryClient(registry.url).pushImage('library/hello', { reference: 'v1' })
  for (const { commands, output } of steps) {
    const env = { ...process.env, ...variables }
    const shell = spawn('sh', ['-c', commands], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const [printed, errors] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')])
    // On a busy machine there is progress, too.
    assert.equal(shell.exitCode, 0, `${commands}: ${errors}`)
    assert.match(printed.trimEnd(), toPattern(output ?? ''), commands)
  }
  const rootdirectory = join(folder, drill)
  const restored = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory } } } })
  const answer = await new RegistryClient(restored.url).get('/v2/library/hello/manifests/v1')
  assert.equal(answer.header('docker-content-digest'), descriptor.digest)
}

test('a registry is backed up and restored as the guide says', async (t) => {
  const blocks = (await readBlocks('backup', 'en')).filter(({ heading }) => heading !== IN_A_BUCKET)
  const steps = stepsOf(blocks)
  assert.equal(steps.length, 4)
  await carryOut(t, { steps, drill: 'drill' })
})

test('backups are kept in a bucket as the guide says', async (t) => {
  if (!isMinioPresent(t)) return
  const minio = await startMinio()
  t.after(async () => minio.remove())
  const { accesskey, secretkey, regionendpoint } = minio.storage
  const steps = stepsOf(await readBlocks('backup', 'en'), IN_A_BUCKET)
  assert.equal(steps.length, 2)
  await carryOut(
    t,
    { steps, drill: 'drill-bucket' },
    { AWS_ACCESS_KEY_ID: accesskey, AWS_SECRET_ACCESS_KEY: secretkey, AWS_ENDPOINT_URL_S3: regionendpoint },
  )
})
