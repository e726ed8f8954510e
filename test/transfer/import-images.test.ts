import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { isInstalled, run, skipUnlessRequired } from '../clients/programs.ts'
import { type Descriptor, digestOf, imageDocument, indexDocument, json, mediaTypes, randomBlob } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { folderOf, runJson } from '../operations/management-request.ts'
import { assertContent, record, RegistryClient } from '../registry-client.ts'
import { pushLayeredImage } from './layered-image.ts'

/** An OCI image layout in the making. */
class Layout {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  async add(bytes: Buffer, mediaType: string): Promise<Descriptor> {
    const digest = digestOf(bytes)
    await mkdir(dirname(this.path(digest)), { recursive: true })
    await writeFile(this.path(digest), bytes)
    return { mediaType, digest, size: bytes.length }
  }

  path(digest: string): string {
    return join(this.folder, 'blobs', digest.replace(':', '/'))
  }

  async addImage(): Promise<{ bytes: Buffer; descriptor: Descriptor; layer: Descriptor }> {
    const config = await this.add(randomBlob(200), mediaTypes.config)
    const layer = await this.add(randomBlob(2 * 1024 * 1024), mediaTypes.layer)
    const bytes = imageDocument(config, [layer])
    return { bytes, descriptor: await this.add(bytes, mediaTypes.image), layer }
  }

  /** Writes down what it begins with. */
  async finish(roots: readonly { descriptor: Descriptor; name?: string }[]): Promise<void> {
    const manifests = roots.map(({ descriptor, name }) => ({
      ...descriptor,
      ...(name !== undefined && { annotations: { 'org.opencontainers.image.ref.name': name } }),
    }))
    await writeFile(join(this.folder, 'index.json'), json({ schemaVersion: 2, manifests }))
    await writeFile(join(this.folder, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }))
  }
}

test('a layout is pushed byte for byte, out of a folder and out of a tar archive, with all platforms', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const layout = new Layout(join(await temporaryFolder(t), 'layout'))
  const [one, two] = [await layout.addImage(), await layout.addImage()]
  const index = indexDocument([one.descriptor, two.descriptor])
  const descriptor = await layout.add(index, mediaTypes.index)
  await layout.finish([
    { descriptor, name: 'registry.example.com:5000/team/app:1.0' },
    { descriptor: one.descriptor, name: 'team/app:one' },
  ])
  const archive = `${layout.folder}.tar`
  execFileSync('tar', ['-cf', archive, '-C', layout.folder, '.'])

  const first = await runJson(registry, ['import', 'oci-layout', layout.folder])
  assert.partialDeepStrictEqual(first, {
    skipped: [],
    counts: { blobs: 6, copied: 4, present: 2, manifests: 4, tags: 2 },
  })
  assertContent(await client.get('/v2/team/app/manifests/1.0'), { bytes: index, ...descriptor })
  assertContent(await client.get('/v2/team/app/manifests/one'), { bytes: one.bytes, ...one.descriptor })

  await runJson(registry, ['import', 'oci-layout', archive, '--as', 'other'])
  for (const image of [one, two]) {
    assertContent(await client.get(`/v2/other/manifests/${image.descriptor.digest}`), { ...image, ...image.descriptor })
    const { digest } = image.layer
    assertContent(await client.get(`/v2/other/blobs/${digest}`), { bytes: await readFile(layout.path(digest)), digest })
  }
})

test('what is damaged or lacks something is refused with a reason, and the other images come', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const layout = new Layout(join(await temporaryFolder(t), 'layout'))
  const [whole, damaged] = [await layout.addImage(), await layout.addImage()]
  await writeFile(layout.path(damaged.layer.digest), randomBlob(2 * 1024 * 1024))
  await layout.finish([
    { descriptor: damaged.descriptor, name: 'damaged' },
    { descriptor: { ...whole.descriptor, digest: digestOf('absent') }, name: 'absent' },
    { descriptor: whole.descriptor, name: 'whole' },
  ])
  const args = ['import', 'oci-layout', '--json', layout.folder]
  const unnamed = await entrepot(args, { env: folderOf(registry) })
  assert.deepEqual([unnamed.code, /give one with --as/.test(unnamed.stderr)], [1, true])
  const { code, stdout } = await entrepot([...args, '--as', 'team/app'], { env: folderOf(registry) })
  assert.equal(code, 1)
  const { skipped } = record(JSON.parse(stdout))
  assert.ok(Array.isArray(skipped))
  assert.deepEqual(
    skipped.map((entry: unknown) => record(entry)['reason']),
    ['content-damaged', 'manifest-refused'],
  )
  assert.equal((await client.get('/v2/team/app/manifests/whole')).status, 200)
  assert.equal((await client.get('/v2/team/app/manifests/damaged')).status, 404)
})

test('an archive that is cut off, compressed or no archive is refused', async (t) => {
  const registry = await startRegistry(t)
  const folder = await temporaryFolder(t)
  const layout = new Layout(join(folder, 'layout'))
  const { descriptor } = await layout.addImage()
  await layout.finish([{ descriptor, name: 'a:1' }])
  execFileSync('tar', ['-cf', join(folder, 'cut.tar'), '-C', layout.folder, '.'])
  execFileSync('tar', ['-czf', join(folder, 'small.tar'), '-C', layout.folder, '.'])
  await truncate(join(folder, 'cut.tar'), 1024 * 1024)
  await writeFile(join(folder, 'none.tar'), randomBlob(4_096))
  for (const [name, reason] of [
    ['cut', /cut off/],
    ['small', /gunzip it first/],
    ['none', /no tar archive/],
  ] as const) {
    const { code, stderr } = await entrepot(['import', 'oci-layout', join(folder, `${name}.tar`)], {
      env: folderOf(registry),
    })
    assert.equal(code, 1)
    assert.match(stderr, reason)
  }
})

test('what Skopeo writes as an OCI archive and as a Docker archive comes back', async (t) => {
  if (!isInstalled('skopeo')) return skipUnlessRequired(t, 'skopeo is not installed')
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const folder = await temporaryFolder(t)
  const image = await pushLayeredImage(client, 'team/app', 'v1')
  const from = `docker://${registry.host}/team/app:v1`
  const copy = async (to: string) => run('skopeo', ['copy', '--src-tls-verify=false', from, to])
  await copy(`oci-archive:${folder}/oci.tar:v1`)
  await copy(`docker-archive:${folder}/docker.tar:example.com/team/docker:v1`)

  await runJson(registry, ['import', 'oci-layout', join(folder, 'oci.tar'), '--as', 'again'])
  assertContent(await client.get('/v2/again/manifests/v1'), { bytes: image.bytes, ...image.descriptor })
  await runJson(registry, ['import', 'docker-archive', join(folder, 'docker.tar')])
  const answer = await client.get('/v2/team/docker/manifests/v1')
  assert.equal(answer.header('content-type'), mediaTypes.dockerImage)
  const { layers } = record(answer.json())
  assert.partialDeepStrictEqual(layers, [{ digest: digestOf(image.layerTar), size: image.layerTar.length }])
  await run('skopeo', [
    'copy',
    '--src-tls-verify=false',
    `docker://${registry.host}/team/docker:v1`,
    `dir:${folder}/out`,
  ])
})
