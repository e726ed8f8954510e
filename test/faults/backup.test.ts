import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startRegistry } from '../harness.ts'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { collectGarbage, emptyInstallation, folderOf } from '../operations/management-request.ts'
import { RegistryClient } from '../registry-client.ts'
import { assertWhole, type Image, listBackups, NO_GRACE, restoreFrom, startLoad } from './backup-load.ts'
import { byTier } from './tier.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))
const KEPT_BEFORE = 30

test('a backup under load has all that was acknowledged before it began, byte for byte, and nothing that was deleted', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: NO_GRACE } } })
  const client = new RegistryClient(registry.url)
  const kept: Image[] = []
  for (let index = 0; index < KEPT_BEFORE; index++) {
    const name = `kept/${index % 3}`
    kept.push({ name, ...(await client.pushImage(name)), isDeleted: false })
  }
  const backups = join(await temporaryFolder(t), 'backups')
  for (let round = 0; round < byTier({ quick: 1, ci: 3, release: 20 }); round++) {
    const images: Image[] = []
    const endLoad = startLoad(t, { clients: [client], collect: async () => collectGarbage(registry) }, images)
    while (images.length < 40) await new Promise(setImmediate)
    const before = images.filter((image) => !image.isDeleted)
    const gone = images.filter((image) => image.isDeleted)
    // What is being deleted just now may be there yet.
    gone.splice(-2)
    const { code, stdout, stderr } = await entrepot(['backup', backups, '--json'], { env: folderOf(registry) })
    assert.equal(code, 0, stdout + stderr)
    await endLoad()
    const restored = await restoreFrom(t, backups)
    for (const image of [...kept, ...before.filter((image) => !image.isDeleted)]) await assertWhole(restored, image)
    for (const { name, descriptor } of gone) {
      assert.equal((await restored.get(`/v2/${name}/manifests/${descriptor.digest}`)).status, 404)
    }
  }
  // The collector has gone on since.
  await collectGarbage(registry)
})

test('a backup that is killed is none, and the next one goes on from what is there', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const images: Image[] = []
  for (let index = 0; index < 40; index++) {
    images.push({ name: 'team/app', ...(await client.pushImage('team/app')), isDeleted: false })
  }
  await registry.stop()
  const backups = join(await temporaryFolder(t), 'backups')
  const env = { ...process.env, ...folderOf(registry) }
  let ended = 0
  for (let kill = 0; kill < byTier({ quick: 3, ci: 12, release: 200 }); kill++) {
    const child = spawn(LAUNCHER, ['backup', backups], { env, stdio: 'ignore' })
    const timer = setTimeout(() => child.kill('SIGKILL'), 200 + Math.random() * 800)
    const [code] = await once(child, 'exit')
    clearTimeout(timer)
    if (code === 0) ended++
    assert.ok((await listBackups(backups)).length >= ended)
    // A kill may come after the mark, before the command has ended.
    ended = (await listBackups(backups)).length
  }
  const last = await entrepot(['backup', backups, '--keep', '1'], { env: folderOf(registry) })
  assert.equal(last.code, 0, last.stderr)
  assert.deepEqual(await readdir(join(backups, 'backups')), await listBackups(backups))
  assert.deepEqual(await readdir(join(backups, 'uploads')), [])
  const restored = await restoreFrom(t, backups)
  for (const image of images) await assertWhole(restored, image)
})

test('a restore that is killed leaves no registry, and is done again', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  for (let index = 0; index < 20; index++) await client.pushImage('team/app')
  const image = { name: 'team/app', ...(await client.pushImage('team/app', { reference: 'v1' })), isDeleted: false }
  const backups = join(await temporaryFolder(t), 'backups')
  assert.equal((await entrepot(['backup', backups], { env: folderOf(registry) })).code, 0)
  const { folder: data, env } = await emptyInstallation(t)
  const attempts = byTier({ quick: 1, ci: 6, release: 100 })
  for (let attempt = 0, delayMs = 300; ; attempt++, delayMs *= attempt < attempts ? 1 : 1.5) {
    const child = spawn(LAUNCHER, ['restore', '--no-fsck', backups], {
      env: { ...process.env, ...env },
      stdio: 'ignore',
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), delayMs + Math.random() * 200)
    const [code] = await once(child, 'exit')
    clearTimeout(timer)
    if (code !== null) break
    const names: string[] = await readdir(data).catch(() => [])
    if (names.includes('entrepot.db')) await rm(data, { recursive: true })
  }
  const { code, stdout } = await entrepot(['fsck', '--deep'], { env })
  assert.equal(code, 0, stdout)
  const restored = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: data } } } })
  await assertWhole(new RegistryClient(restored.url), image)
})
