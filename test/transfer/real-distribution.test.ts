import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { attempt, skipUnlessRequired } from '../clients/programs.ts'
import { indexDocument, mediaTypes, randomBlob } from '../content.ts'
import { expectSound } from '../faults/fsck.ts'
import { accepts, freePort, startRegistry, until } from '../harness.ts'
import { entrepot, temporaryFolder, writeConfig } from '../operations/command.ts'
import { folderOf } from '../operations/management-request.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'

/** CNCF distribution 2.8, as Debian has it, on a folder of its own. */
async function startDistribution(t: TestContext): Promise<{ url: string; folder: string } | undefined> {
  const found = await attempt('docker-registry', ['--version']).catch(() => undefined)
  if (found?.exitCode !== 0) {
    skipUnlessRequired(t, 'docker-registry is not installed')
    return undefined
  }
  const [home, port] = [await temporaryFolder(t), await freePort()]
  const folder = join(home, 'registry')
  const config = {
    version: '0.1',
    storage: { filesystem: { rootdirectory: folder }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}` },
  }
  const child = spawn('docker-registry', ['serve', await writeConfig(home, JSON.stringify(config))], {
    stdio: 'ignore',
  })
  t.after(async () => {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
  })
  await until(
    async () => accepts(port),
    20_000,
    () => 'docker-registry does not answer',
  )
  return { url: `http://127.0.0.1:${port}`, folder }
}

test('what CNCF distribution was pushed is pulled after an import, and what it deleted is not', async (t) => {
  const distribution = await startDistribution(t)
  if (distribution === undefined) return
  const theirs = new RegistryClient(distribution.url)
  const image = await theirs.pushImage('team/app', { reference: 'v1' })
  const layer = randomBlob(2 * 1024 * 1024)
  const { digest } = await theirs.pushBlob('team/app', layer)
  const index = indexDocument([image.descriptor])
  const all = await theirs.pushManifest('team/app', index, mediaTypes.index, { reference: 'all' })
  const deleted = await theirs.pushImage('team/app', { reference: 'old' })
  assert.equal((await theirs.delete(`/v2/team/app/manifests/${deleted.descriptor.digest}`)).status, 202)

  const registry = await startRegistry(t)
  const { code, stdout } = await entrepot(['import', 'distribution', distribution.folder], { env: folderOf(registry) })
  assert.equal(code, 0, stdout)
  const ours = new RegistryClient(registry.url)
  assertContent(await ours.get('/v2/team/app/manifests/v1'), { bytes: image.bytes, ...image.descriptor })
  assertContent(await ours.get('/v2/team/app/manifests/all'), { bytes: index, ...all })
  assertContent(await ours.get(`/v2/team/app/blobs/${digest}`), { bytes: layer, digest })
  assert.equal((await ours.get('/v2/team/app/manifests/old')).status, 404)
  assert.equal((await ours.get(`/v2/team/app/manifests/${deleted.descriptor.digest}`)).status, 404)
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})
