import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { after, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { randomBlob } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { isMinioPresent, type MinioServer, startMinio } from '../minio-server.ts'
import { entrepot } from '../operations/command.ts'
import { emptyInstallation, folderOf } from '../operations/management-request.ts'
import { isPostgresPresent } from '../postgres-cluster.ts'
import { Random } from '../random.ts'
import { record, RegistryClient } from '../registry-client.ts'
import { startS3Proxy } from '../s3-proxy.ts'
import { assertWhole, type Image, listBackups, NO_GRACE, pushBesideCollector, startLoad } from './backup-load.ts'
import { faultSeed } from './fault-seed.ts'
import { startInstances } from './instances.ts'
import { byTier } from './tier.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))
const MIB = 1024 * 1024
/** Who was killed while it wrote to a bucket is waited for. */
const PATIENCE = { timeoutMs: 120_000 }

let shared: Promise<MinioServer> | undefined
const server = async () => (shared ??= startMinio())
after(async () => (await shared)?.remove())

/** A place for backups that nobody else uses, behind a proxy, and the variables that lead to it. */
async function placeBehindProxy(t: TestContext) {
  const { storage, port } = await server()
  const proxy = await startS3Proxy(t, port)
  const variables = {
    AWS_ACCESS_KEY_ID: storage.accesskey,
    AWS_SECRET_ACCESS_KEY: storage.secretkey,
    AWS_ENDPOINT_URL_S3: proxy.url,
  }
  return { proxy, place: `s3://${storage.bucket}/${randomUUID()}`, variables }
}

async function pushImages(client: RegistryClient, count: number): Promise<Image[]> {
  const images: Image[] = []
  for (let index = 0; index < count; index++) images.push(await pushBesideCollector(client, `team/app${index % 3}`))
  return images
}

/** Restores a place into an installation, checks it, and pulls what must be there. */
async function assertRestored(
  t: TestContext,
  { place, env, config }: { place: string; env: Record<string, string>; config: Record<string, unknown> },
  images: readonly Image[],
): Promise<void> {
  const { code, stdout, stderr } = await entrepot(['restore', place], { env, ...PATIENCE })
  assert.equal(code, 0, stdout + stderr)
  const deep = await entrepot(['fsck', '--deep'], { env, ...PATIENCE })
  assert.equal(deep.code, 0, deep.stdout + deep.stderr)
  const client = new RegistryClient((await startRegistry(t, { config })).url)
  for (const image of images) await assertWhole(client, image)
}

test('a backup to a bucket that is killed is none, and the next one goes on from what is there', async (t) => {
  if (!isMinioPresent(t)) return
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const images = await pushImages(client, 30)
  await client.pushBlob('team/app0', randomBlob(30 * MIB))
  await registry.stop()
  const { proxy, place, variables } = await placeBehindProxy(t)
  const env = { ...folderOf(registry), ...variables }
  for (let kill = 1; kill <= byTier({ quick: 1, ci: 3, release: 30 }); kill++) {
    const before = proxy.requests.length
    const child = spawn(LAUNCHER, ['backup', place], { env: { ...process.env, ...env }, stdio: 'ignore' })
    // In the middle of content, and at last between the metadata and the mark.
    let puts = 0
    proxy.plan = ({ operation, url }) => {
      if (operation === 'put' || operation === 'put-part') puts += Number(url.includes('/blobs/'))
      const isDue = kill % 3 === 0 ? url.includes('/backup.json') : puts === 10 * kill
      if (isDue) child.kill('SIGKILL')
      return isDue ? 'unheard' : undefined
    }
    const [code] = await once(child, 'exit')
    assert.equal(code, null, 'it ended before it was killed')
    assert.ok(proxy.requests.length > before)
    proxy.plan = () => undefined
    assert.deepEqual(await listBackups(place, variables), [])
  }
  const done = await entrepot(['backup', '--json', place], { env, ...PATIENCE })
  assert.equal(done.code, 0, done.stderr)
  const counts = record(record(JSON.parse(done.stdout))['counts'])
  assert.ok(Number(counts['present']) >= 5, JSON.stringify(counts))
  const target = await emptyInstallation(t)
  const config = { storage: { filesystem: { rootdirectory: target.folder } } }
  await assertRestored(t, { place, env: { ...target.env, ...variables }, config }, images)
})

test('a store that fails now and then is asked again, and nothing that is wrong is in the backup', async (t) => {
  if (!isMinioPresent(t)) return
  const random = new Random(`${faultSeed(t)}`)
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const images = await pushImages(client, 30)
  await client.pushBlob('team/app0', randomBlob(20 * MIB))
  const { proxy, place, variables } = await placeBehindProxy(t)
  const honest = ['error', 'slow-down', 'unheard', 'unanswered', 'cut'] as const
  const all = [...honest, 'error-in-200', 'lost-part'] as const
  proxy.plan = ({ operation }) => {
    if (random.below(10) > 0) return undefined
    const faults = ['put', 'put-part', 'complete-parts'].includes(operation) ? all : honest
    return faults[random.below(faults.length)]
  }
  const attempt = async (args: string[], env: Record<string, string>) => {
    for (let tries = 0; tries < 20; tries++) {
      const { code, stdout, stderr } = await entrepot(args, { env: { ...env, ...variables }, ...PATIENCE })
      if (code === 0) return
      assert.match(stdout + stderr, /the bucket "registry" at /)
    }
    assert.fail('it never succeeded')
  }
  await attempt(['backup', place], folderOf(registry))
  const target = await emptyInstallation(t)
  await attempt(['restore', place], target.env)
  const deep = await entrepot(['fsck', '--deep'], { env: target.env })
  assert.equal(deep.code, 0, deep.stdout)
  const config = { storage: { filesystem: { rootdirectory: target.folder } } }
  const restored = new RegistryClient((await startRegistry(t, { config })).url)
  for (const image of images) await assertWhole(restored, image)
})

test('instances on PostgreSQL and S3 are backed up under load into a bucket, and restored into another database and bucket', async (t) => {
  if (!isMinioPresent(t) || !(await isPostgresPresent(t))) return
  const { storage } = await server()
  const inBucket = () => ({ ...storage, rootdirectory: randomUUID() })
  const redirect = { disable: true }
  const instances = await startInstances(t, 2, { storage: { maintenance: NO_GRACE, s3: inBucket(), redirect } })
  const { clients, registries, configFile, runSql } = instances
  const [client, ...loaded] = clients
  assert.ok(client && registries[0])
  const kept = await pushImages(client, 10)
  const { place, variables } = await placeBehindProxy(t)
  const collect = async () => void (await entrepot(['gc', '--now', configFile]))
  const images: Image[] = []
  const endLoad = startLoad(t, { clients: loaded, collect }, images)
  while (images.length < 10) await sleep(10)
  const asked = entrepot(['backup', place, configFile], { env: variables, ...PATIENCE })
  await sleep(500)
  await registries[0].kill()
  await asked
  const before = images.filter((image) => !image.isDeleted)
  const done = await entrepot(['backup', place, configFile], { env: variables, ...PATIENCE })
  assert.equal(done.code, 0, done.stdout + done.stderr)
  await endLoad()

  const database = `restored_${randomBytes(8).toString('hex')}`
  await runSql(`create database ${database}`)
  t.after(async () => runSql(`drop database ${database} with (force)`))
  const { database: given } = record(JSON.parse(await readFile(configFile, 'utf8')))
  const url = new URL(database, String(record(given)['url'])).href
  const { folder } = await emptyInstallation(t)
  const s3 = inBucket()
  const env = {
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: folder,
    REGISTRY_DATABASE_URL: url,
    REGISTRY_STORAGE_S3: JSON.stringify(s3),
    ...variables,
  }
  const config = { storage: { filesystem: { rootdirectory: folder }, s3, redirect }, database: { url } }
  await assertRestored(t, { place, env, config }, [...kept, ...before.filter((image) => !image.isDeleted)])
})
