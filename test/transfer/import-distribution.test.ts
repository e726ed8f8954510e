import assert from 'node:assert/strict'
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { digestOf, type Descriptor, indexDocument, json, mediaTypes, randomBlob } from '../content.ts'
import { contentFile } from '../faults/corruptions.ts'
import { expectSound } from '../faults/fsck.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { folderOf } from '../operations/management-request.ts'
import { assertContent, record, RegistryClient } from '../registry-client.ts'
import { isOnPostgres } from '../test-database.ts'
import { isOnS3 } from '../test-storage.ts'
import { DistributionStore } from './distribution-store.ts'

/** What becomes of files of the same file system. */
const TAKEN = isOnS3 ? 'copied' : 'linked'

interface Imported {
  readonly code: number | null
  readonly counts: Record<string, unknown>
  /** `reason repository[:tag] digest` of each, sorted. */
  readonly skipped: string[]
}

async function importInto(env: Record<string, string>, args: readonly string[]): Promise<Imported> {
  const { code, stdout, stderr } = await entrepot(['import', 'distribution', '--json', ...args], { env })
  assert.match(stdout, /^\{/, stderr)
  const { counts, skipped } = record(JSON.parse(stdout))
  assert.ok(Array.isArray(skipped))
  const lines = skipped.map((entry: unknown) => {
    const { reason, repository = '-', tag, digest = '-' } = record(entry)
    return [
      reason,
      tag === undefined ? repository : `${String(repository)}:${JSON.stringify(tag).slice(1, -1)}`,
      digest,
    ].join(' ')
  })
  return { code, counts: record(counts), skipped: lines.toSorted() }
}

async function sourceOf(t: TestContext): Promise<DistributionStore> {
  return new DistributionStore(join(await temporaryFolder(t), 'registry'))
}

/** Pulls an image by tag, and asserts that all of it is there, byte for byte. */
async function assertPulls(
  client: RegistryClient,
  name: string,
  { tag, image }: { tag: string; image: { bytes: Buffer; descriptor: Descriptor; layers: Descriptor[] } },
): Promise<void> {
  const { descriptor, bytes, layers } = image
  assertContent(await client.get(`/v2/${name}/manifests/${tag}`), { bytes, ...descriptor })
  for (const { digest } of layers) {
    const answer = await client.get(`/v2/${name}/blobs/${digest}`)
    assert.equal(answer.status, 200)
    assert.equal(digestOf(answer.body), digest)
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const states = files.map(async (file) => {
    const { ino, mode, mtimeMs, size } = await stat(file)
    return `${file} ${ino} ${mode} ${mtimeMs} ${size}`
  })
  return (await Promise.all(states)).toSorted()
}

test('images, indexes, nested names and tags come over byte for byte beside a running server', async (t) => {
  const source = await sourceOf(t)
  const large = randomBlob(3 * 1024 * 1024)
  const image = await source.addImage('library/app', 'v1', [large, randomBlob(0)])
  const nested = await source.addImage('library/app/tools', 'latest', [large])
  const child = await source.addImage('library/app')
  const inner = indexDocument([child.descriptor])
  const innerDescriptor = await source.addManifest('library/app', inner, mediaTypes.index)
  const outer = indexDocument([innerDescriptor, image.descriptor])
  const outerDescriptor = await source.addManifest('library/app', outer, mediaTypes.index, 'all')
  const signature = json({
    schemaVersion: 2,
    mediaType: mediaTypes.image,
    config: child.config,
    layers: [],
    subject: image.descriptor,
  })
  const signed = await source.addManifest('library/app', signature, mediaTypes.image)
  const before = await filesBelow(source.folder)

  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const imported = await importInto(folderOf(registry), [source.folder])
  assert.deepEqual([imported.code, imported.skipped], [0, []])
  assert.partialDeepStrictEqual(imported.counts, { repositories: 2, blobs: 7, manifests: 6, tags: 3, [TAKEN]: 13 })
  await assertPulls(client, 'library/app', { tag: 'v1', image })
  await assertPulls(client, 'library/app/tools', { tag: 'latest', image: nested })
  assertContent(await client.get('/v2/library/app/manifests/all'), { bytes: outer, ...outerDescriptor })
  const referrers = record((await client.get(`/v2/library/app/referrers/${image.descriptor.digest}`)).json())
  assert.partialDeepStrictEqual(referrers, { manifests: [{ digest: signed.digest }] })

  assert.deepEqual(await filesBelow(source.folder), before, 'the source was changed')
  await registry.stop()
  // The command then needs the server's configuration, or does not check at all.
  if (isOnS3 || isOnPostgres) return
  const { findings } = await fsckOf(registry)
  assert.deepEqual(findings, [])
})

async function fsckOf(registry: TestRegistry) {
  const { code, stdout } = await entrepot(['fsck', '--deep', '--json'], { env: folderOf(registry) })
  assert.equal(code, 0, stdout)
  return record(JSON.parse(stdout))
}

test('files become hard links, and copies where others may write to them', async (t) => {
  const source = await sourceOf(t)
  const { layers, config } = await source.addImage('library/app', 'v1')
  const [layer] = layers
  assert.ok(layer !== undefined)
  await chmod(source.data(layer.digest), 0o666)
  const data = join(await temporaryFolder(t), 'data')
  const { code, counts } = await importInto({ REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: data }, [source.folder])
  assert.equal(code, 0)
  assert.partialDeepStrictEqual(counts, { linked: 2, copied: 1 })
  const of = async (digest: string) => [await stat(source.data(digest)), await stat(contentFile(data, digest))] as const
  const [linkedFrom, linked] = await of(config.digest)
  assert.equal(linked.ino, linkedFrom.ino)
  const [copiedFrom, copied] = await of(layer.digest)
  assert.notEqual(copied.ino, copiedFrom.ino)
  assert.equal(copied.mode & 0o777, 0o600)
  await expectSound(t, data)
})

test('what cannot be taken over is told with its reason, and everything else comes', async (t) => {
  const source = await sourceOf(t)
  const whole = await source.addImage('library/app', 'whole')
  const damaged = await source.addImage('library/app', 'damaged')
  const missing = await source.addImage('library/app', 'missing')
  const unnamed = await source.addImage('library/app', 'unnamed')
  const forgotten = await source.addImage('library/app', 'forgotten')
  const [damagedLayer, missingLayer, unnamedLayer] = [damaged, missing, unnamed].map(({ layers }) => layers[0]?.digest)
  assert.ok(damagedLayer !== undefined && missingLayer !== undefined && unnamedLayer !== undefined)
  await writeFile(source.data(damagedLayer), randomBlob(1_000))
  await rm(source.data(missingLayer))
  await writeFile(source.layerLink('library/app', unnamedLayer), '')
  await rm(source.revisionLink('library/app', forgotten.descriptor.digest))
  await rm(source.tagLink('library/app', 'forgotten'))
  const absent = { mediaType: mediaTypes.image, digest: digestOf('absent'), size: 6 }
  const schema1 = await source.addManifest(
    'library/app',
    json({ schemaVersion: 1, name: 'x' }),
    mediaTypes.image,
    'old',
  )
  const partial = await source.addManifest(
    'library/app',
    indexDocument([absent, whole.descriptor]),
    mediaTypes.index,
    'partial',
  )
  await source.addImage('Library/App', 'v1')

  const expected = [
    `content-damaged library/app ${damagedLayer}`,
    `content-missing library/app ${missingLayer}`,
    `link-unreadable library/app ${unnamedLayer}`,
    ...[damaged, missing, unnamed].map(({ descriptor }) => `manifest-refused library/app ${descriptor.digest}`),
    ...[schema1, partial].map(({ digest }) => `manifest-refused library/app ${digest}`),
    `name-not-allowed Library/App -`,
    ...Object.entries({ damaged, missing, unnamed }).map(
      ([tag, { descriptor }]) => `tag-without-manifest library/app:${tag} ${descriptor.digest}`,
    ),
    `tag-without-manifest library/app:old ${schema1.digest}`,
    `tag-without-manifest library/app:partial ${partial.digest}`,
  ].toSorted()
  const data = join(await temporaryFolder(t), 'data')
  const env = { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: data }

  const tried = await importInto(env, ['--dry-run', source.folder])
  assert.equal(tried.code, 1)
  assert.deepEqual(tried.skipped, expected)
  await assert.rejects(stat(data), 'a dry run made a data folder')

  const imported = await importInto(env, [source.folder])
  assert.equal(imported.code, 1)
  assert.deepEqual(imported.skipped, expected)
  for (const key of ['repositories', 'blobs', 'manifests', 'tags']) {
    assert.equal(imported.counts[key], tried.counts[key], key)
  }
  assert.deepEqual([imported.counts['manifests'], imported.counts['tags']], [1, 1])
  await expectSound(t, data)
  assert.ok((await readFile(contentFile(data, whole.descriptor.digest))).equals(whole.bytes))
})

test('done again it takes what is new; a tag that stands for something else here stays until it is to follow', async (t) => {
  const source = await sourceOf(t)
  await source.addImage('library/app', 'v1')
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const env = folderOf(registry)
  await importInto(env, [source.folder])
  const ours = await client.pushImage('library/app', { reference: 'v1' })
  const second = await source.addImage('library/app', 'v2')

  const again = await importInto(env, [source.folder])
  assert.equal(again.code, 0)
  assert.deepEqual(
    again.skipped.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['tag-differs library/app:v1'],
  )
  assert.partialDeepStrictEqual(again.counts, { [TAKEN]: 3, present: 2, manifests: 2, tags: 1 })
  await assertPulls(client, 'library/app', { tag: 'v2', image: second })
  assertContent(await client.get('/v2/library/app/manifests/v1'), { bytes: ours.bytes, ...ours.descriptor })

  const followed = await importInto(env, ['--update-tags', source.folder])
  assert.deepEqual([followed.code, followed.skipped], [0, []])
  assert.notEqual(
    (await client.get('/v2/library/app/manifests/v1')).header('docker-content-digest'),
    ours.descriptor.digest,
  )
})

test('a folder without a registry, and a read-only registry, are refused', async (t) => {
  const empty = await temporaryFolder(t)
  const registry = await startRegistry(t, { config: { storage: { maintenance: { readonly: { enabled: true } } } } })
  for (const option of ['--dry-run', '--json']) {
    const { code, stderr } = await entrepot(['import', 'distribution', option, empty], { env: folderOf(registry) })
    assert.equal(code, 1)
    assert.match(stderr, option === '--dry-run' ? /there is no registry in / : /nothing is changed while .*readonly/)
  }
  const wrong = await entrepot(['import', 'distribution'])
  assert.equal(wrong.code, 2)
})
