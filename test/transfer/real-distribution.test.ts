import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { attempt, skipUnlessRequired } from '../clients/programs.ts'
import { indexDocument, mediaTypes, randomBlob } from '../content.ts'
import { expectSound } from '../faults/fsck.ts'
import { HarmedBucket } from '../faults/s3-corruptions.ts'
import { accepts, freePort, startRegistry, until } from '../harness.ts'
import { entrepot, temporaryFolder, writeConfig } from '../operations/command.ts'
import { isMinioPresent, startMinio } from '../minio-server.ts'
import { folderOf } from '../operations/management-request.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'

interface Distribution {
  readonly url: string
  readonly folder: string
  /** Its configuration. */
  readonly file: string
}

/**
 * CNCF distribution 2.8, as Debian has it, on a folder of its own.
 * @param storage other than that.
 */
async function startDistribution(t: TestContext, storage?: object): Promise<Distribution | undefined> {
  const found = await attempt('docker-registry', ['--version']).catch(() => undefined)
  if (found?.exitCode !== 0) {
    skipUnlessRequired(t, 'docker-registry is not installed')
    return undefined
  }
  const [home, port] = [await temporaryFolder(t), await freePort()]
  const folder = join(home, 'registry')
  const config = {
    version: '0.1',
    storage: { ...(storage ?? { filesystem: { rootdirectory: folder } }), delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}` },
  }
  const file = await writeConfig(home, JSON.stringify(config))
  // What this machine says of Amazon's store is not for the one of the test.
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_'))
  const child = spawn('docker-registry', ['serve', file], { stdio: 'ignore', env: Object.fromEntries(own) })
  t.after(async () => {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
  })
  await until(
    async () => accepts(port),
    20_000,
    () => 'docker-registry does not answer',
  )
  return { url: `http://127.0.0.1:${port}`, folder, file }
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

test(
  'what CNCF distribution keeps in a bucket comes into a folder and into another bucket',
  { timeout: 300_000 },
  async (t) => {
    if (!isMinioPresent(t)) return
    const minio = await startMinio()
    t.after(async () => minio.remove())
    const storage = { s3: { ...minio.storage, rootdirectory: '/old/registry', secure: false, v4auth: true } }
    const distribution = await startDistribution(t, storage)
    if (distribution === undefined) return
    const theirs = new RegistryClient(distribution.url)
    const image = await theirs.pushImage('team/app', { reference: 'v1' })
    const layer = randomBlob(12 * 1024 * 1024)
    const { digest } = await theirs.pushBlob('team/app', layer)
    const all = await theirs.pushManifest('team/app', indexDocument([image.descriptor]), mediaTypes.index, {
      reference: 'all',
    })
    const nested = await theirs.pushImage('team/app/nested', { reference: 'latest' })
    const deleted = await theirs.pushImage('team/app', { reference: 'old' })
    assert.equal((await theirs.delete(`/v2/team/app/manifests/${deleted.descriptor.digest}`)).status, 202)

    const tried = await entrepot(['import', 'distribution', '--dry-run', distribution.file])
    assert.equal(tried.code, 0, `${tried.stdout}${tried.stderr}`)
    assert.match(tried.stdout, /would take over 2 repositories, .* 3 manifests, 3 tags, .*, 0 skipped/)
    const folderless = { s3: { ...minio.storage, rootdirectory: 'new' }, redirect: { disable: true } }
    for (const config of [{}, { storage: folderless }]) {
      const registry = await startRegistry(t, { config })
      const file = join(dirname(registry.dataDirectory), 'config.yml')
      for (const there of ['0 there before', '7 there before']) {
        const { code, stdout, stderr } = await entrepot(['import', 'distribution', distribution.file, file])
        assert.equal(code, 0, `${stdout}${stderr}`)
        assert.match(stdout, /took over 2 repositories, .* 3 manifests, 3 tags, .* 0 contents linked/)
        assert.ok(stdout.includes(there), stdout)
      }
      const ours = new RegistryClient(registry.url)
      assertContent(await ours.get('/v2/team/app/manifests/v1'), { bytes: image.bytes, ...image.descriptor })
      assert.equal((await ours.get('/v2/team/app/manifests/all')).header('docker-content-digest'), all.digest)
      assertContent(await ours.get('/v2/team/app/nested/manifests/latest'), {
        bytes: nested.bytes,
        ...nested.descriptor,
      })
      assertContent(await ours.get(`/v2/team/app/blobs/${digest}`), { bytes: layer, digest })
      assert.equal((await ours.get('/v2/team/app/manifests/old')).status, 404)
      await registry.stop()
      await expectSound(t, { config: file })
    }
    // Bytes that rot in the bucket are told of, and everything else comes.
    const hex = digest.slice('sha256:'.length)
    const bucket = new HarmedBucket(minio, 'old/registry/docker/registry/v2')
    await bucket.put(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, randomBlob(layer.length))
    const fresh = await startRegistry(t)
    const access = {
      AWS_ACCESS_KEY_ID: minio.storage.accesskey,
      AWS_SECRET_ACCESS_KEY: minio.storage.secretkey,
      AWS_ENDPOINT_URL: minio.storage.regionendpoint,
      AWS_REGION: minio.storage.region,
    }
    for (const options of [['--dry-run'], []]) {
      const args = ['import', 'distribution', ...options, `s3://${minio.storage.bucket}/old/registry`]
      const { code, stdout } = await entrepot(args, { env: { ...folderOf(fresh), ...access } })
      assert.equal(code, 1)
      assert.match(stdout, new RegExp(`content-damaged: .*${digest}`))
    }
    assert.equal((await new RegistryClient(fresh.url).get('/v2/team/app/manifests/all')).status, 200)
  },
)
