import assert from 'node:assert/strict'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { isInstalled, run, skipUnlessRequired } from '../clients/programs.ts'
import { indexDocument, mediaTypes, randomBlob } from '../content.ts'
import { contentFile } from '../faults/corruptions.ts'
import { startRegistry } from '../harness.ts'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { folderOf, runJson } from '../operations/management-request.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'
import { pushLayeredImage } from './layered-image.ts'

test('an index goes out with all its images, and comes into another registry byte for byte', async (t) => {
  const [from, to] = [await startRegistry(t), await startRegistry(t)]
  const client = new RegistryClient(from.url)
  const images = [await client.pushImage('team/app'), await client.pushImage('team/app')]
  const large = await client.pushBlob('team/app', randomBlob(3 * 1024 * 1024 + 1))
  const bytes = indexDocument([...images.map(({ descriptor }) => descriptor), large])
  const descriptor = await client.pushManifest('team/app', bytes, mediaTypes.index, { reference: '1.0' })
  const file = join(await temporaryFolder(t), 'app.tar')
  const { code, stdout, stderr } = await entrepot(['export', 'oci-layout', 'team/app:1.0', file], {
    env: folderOf(from),
  })
  assert.deepEqual([code, stdout], [0, ''], stderr)
  assert.equal((await stat(file)).size % 512, 0)

  await runJson(to, ['import', 'oci-layout', file, '--as', 'other/app'])
  const theirs = new RegistryClient(to.url)
  assertContent(await theirs.get('/v2/other/app/manifests/1.0'), { bytes, ...descriptor })
  for (const image of images) {
    assertContent(await theirs.get(`/v2/other/app/manifests/${image.descriptor.digest}`), {
      ...image,
      ...image.descriptor,
    })
  }
  assert.equal((await theirs.get(`/v2/other/app/blobs/${large.digest}`)).body.length, large.size)
})

test('an image that is not there, or is damaged, leaves no file', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const folder = await temporaryFolder(t)
  const absent = await entrepot(['export', 'oci-layout', 'team/app', join(folder, 'absent.tar')], {
    env: folderOf(registry),
  })
  assert.deepEqual([absent.code, /there is no repository "team\/app"/.test(absent.stderr)], [1, true], absent.stderr)
  const layer = await client.pushBlob('team/app', randomBlob(2 * 1024 * 1024))
  const { descriptor } = await client.pushImage('team/app', { reference: 'v1' })
  const index = indexDocument([descriptor, layer])
  await client.pushManifest('team/app', index, mediaTypes.index, { reference: 'latest' })
  await writeFile(contentFile(registry.dataDirectory, layer.digest), randomBlob(2 * 1024 * 1024))
  for (const isServed of [true, false]) {
    if (!isServed) await registry.stop()
    const damaged = await entrepot(['export', 'oci-layout', 'team/app', join(folder, 'damaged.tar')], {
      env: folderOf(registry),
    })
    assert.equal(damaged.code, 1, damaged.stderr)
  }
  assert.deepEqual(await readdir(folder), [])
})

test('Skopeo and Podman take what is exported, and Skopeo finds the same digest', async (t) => {
  if (!isInstalled('skopeo') || !isInstalled('podman'))
    return skipUnlessRequired(t, 'skopeo or podman is not installed')
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const image = await pushLayeredImage(client, 'team/app', 'v1')
  await client.pushManifest(
    'team/app',
    indexDocument([{ ...image.descriptor, platform: { os: 'linux', architecture: 'amd64' } }]),
    mediaTypes.index,
    { reference: 'all' },
  )
  const folder = await temporaryFolder(t)
  const write = async (form: string, name: string, file: string) => {
    const { code, stderr } = await entrepot(['export', form, name, join(folder, file)], { env: folderOf(registry) })
    assert.equal(code, 0, stderr)
  }
  await write('oci-layout', 'team/app:v1', 'oci.tar')
  const target = `docker://${registry.host}/again:v1`
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci-archive:${folder}/oci.tar:v1`, target])
  assertContent(await client.get('/v2/again/manifests/v1'), { bytes: image.bytes, ...image.descriptor })
  await write('docker-archive', 'team/app:all', 'docker.tar')
  await run('skopeo', ['copy', `docker-archive:${folder}/docker.tar`, `dir:${folder}/out`])
  const podman = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs']
  const loaded = await run('podman', [...podman, 'load', '-i', join(folder, 'docker.tar')], { cwd: dirname(folder) })
  assert.match(loaded, /team\/app:all/)
})
