import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { randomBlob } from '../content.ts'
import { expectSound } from './fsck.ts'
import { byTier } from './tier.ts'
import { startRegistry } from '../harness.ts'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { folderOf } from '../operations/management-request.ts'
import { record, RegistryClient, strings } from '../registry-client.ts'
import { DistributionStore } from '../transfer/distribution-store.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))
const REPOSITORIES = 12
const IMAGES = 6

async function fill(source: DistributionStore): Promise<void> {
  for (let repository = 0; repository < REPOSITORIES; repository++) {
    for (let image = 0; image < IMAGES; image++) {
      const layers = Array.from({ length: 4 }, () => randomBlob(20_000))
      await source.addImage(`team/app-${repository}`, `v${image}`, layers)
    }
  }
}

test('an import that is killed leaves nothing wrong, and goes on where it was', async (t) => {
  const folder = await temporaryFolder(t)
  const source = new DistributionStore(join(folder, 'registry'))
  await fill(source)
  const rounds = byTier({ quick: 1, ci: 5, release: 60 })
  for (let round = 0; round < rounds; round++) {
    const data = join(folder, `data-${round}`)
    const env = { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: data }
    const whole = performance.now()
    let wasCutOff = false
    // Later each time, until one gets to its end: the kills are spread over all that an import does.
    for (let attempt = 0, delayMs = 250 + Math.random() * 250; ; attempt++, delayMs *= 1.3) {
      const child = spawn(LAUNCHER, ['import', 'distribution', source.folder], {
        env: { ...process.env, ...env },
        stdio: 'ignore',
      })
      const timer = setTimeout(() => child.kill('SIGKILL'), delayMs)
      const [code] = await once(child, 'exit')
      clearTimeout(timer)
      if (code === 0) break
      wasCutOff = true
      assert.ok(attempt < 30, `no attempt has ended after ${performance.now() - whole} ms`)
    }
    assert.ok(wasCutOff, 'the first attempt got to its end')
    await expectSound(t, data)
    const again = await entrepot(['import', 'distribution', '--json', source.folder], { env })
    assert.equal(again.code, 0, again.stdout)
    assert.partialDeepStrictEqual(JSON.parse(again.stdout), {
      counts: { manifests: REPOSITORIES * IMAGES, tags: REPOSITORIES * IMAGES, linked: 0, copied: 0 },
    })
  }
})

test('a command that goes away ends the import in the server, which goes on to serve', async (t) => {
  const source = new DistributionStore(join(await temporaryFolder(t), 'registry'))
  await fill(source)
  const registry = await startRegistry(t)
  const child = spawn(LAUNCHER, ['import', 'distribution', source.folder], {
    env: { ...process.env, ...folderOf(registry) },
    stdio: 'ignore',
  })
  const client = new RegistryClient(registry.url)
  const listed = async () => strings(record((await client.get('/v2/_catalog')).json())['repositories'])
  while ((await listed()).length === 0 && child.exitCode === null) await new Promise(setImmediate)
  child.kill('SIGKILL')
  assert.equal((await client.pushImage('team/ours', { reference: 'v1' })).descriptor.mediaType.length > 0, true)
  assert.equal(await registry.stop(), 0)
  await expectSound(t, registry.dataDirectory)
  await registry.start()
  const { code } = await entrepot(['import', 'distribution', source.folder], { env: folderOf(registry) })
  assert.equal(code, 0)
  assert.equal((await listed()).length, REPOSITORIES + 1)
})
