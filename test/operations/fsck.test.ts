import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { contentFile } from '../faults/corruptions.ts'
import { expectSound, runFsck } from '../faults/fsck.ts'
import { makeStore } from '../faults/varied-store.ts'
import { startRegistry } from '../harness.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'
import { entrepot } from './command.ts'
import { manage } from './management-request.ts'

test('leftovers are told of, and make nothing wrong', async (t) => {
  const { folder, store } = await makeStore(t)
  const root = join(folder, 'data')
  const stray = digestOf('stray')
  await mkdir(dirname(contentFile(root, stray)), { recursive: true })
  await writeFile(contentFile(root, stray), 'stray')
  await writeFile(join(root, 'uploads', '11111111-2222-4333-8444-555555555555'), 'left')
  await writeFile(join(root, 'blobs', 'sha256', 'note.txt'), 'a note')
  await mkdir(join(root, 'quarantine', 'sha256'), { recursive: true })
  await writeFile(join(root, 'quarantine', 'sha256', stray.slice('sha256:'.length)), 'damaged')
  await chmod(contentFile(root, store.layer), 0o644)
  const { code, findings } = await runFsck(t, root, { options: [] })
  assert.equal(code, 0)
  assert.ok(findings.every((found) => found.severity === 'notice'))
  assert.deepEqual(
    new Set(findings.map(({ kind, digest }) => `${kind} ${digest ?? 'without a digest'}`)),
    new Set([
      `file-without-row ${stray}`,
      `permissions ${store.layer}`,
      `quarantined ${stray}`,
      'stray-name without a digest',
      'upload-without-row without a digest',
    ]),
  )
})

test('a check changes nothing, not even the time of a file', async (t) => {
  const { folder, store } = await makeStore(t)
  const root = join(folder, 'data')
  await writeFile(contentFile(root, store.layer), 'damaged')
  const before = await listing(root)
  const { code } = await runFsck(t, root)
  assert.equal(code, 1)
  assert.deepEqual(await listing(root), before)
})

test('what --quarantine moves away is healed by pushing it again', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const [name, layer] = [uniqueName('faults'), randomBlob(300_000)]
  const config = await client.pushBlob(name)
  const image = imageDocument(config, [await client.pushBlob(name, layer)])
  await client.putManifest(name, 'v1', image, mediaTypes.image)
  await registry.stop()
  const [layerFile, imageFile] = [digestOf(layer), digestOf(image)].map((digest) =>
    contentFile(registry.dataDirectory, digest),
  )
  assert.ok(layerFile !== undefined && imageFile !== undefined)
  await writeFile(layerFile, randomBlob(300_000))
  await rm(imageFile)
  await mkdir(imageFile)

  const { code, findings } = await runFsck(t, registry.dataDirectory, { options: ['--deep', '--quarantine'] })
  assert.equal(code, 1)
  assert.deepEqual(
    new Set(findings.map(({ kind, digest }) => `${kind} ${String(digest)}`)),
    new Set([
      `content-damaged ${digestOf(layer)}`,
      `content-not-a-file ${digestOf(image)}`,
      `quarantined ${digestOf(layer)}`,
      `quarantined ${digestOf(image)}`,
    ]),
  )
  const again = await runFsck(t, registry.dataDirectory)
  const errors = again.findings.filter((found) => found.severity === 'error')
  assert.deepEqual(
    new Set(errors.map(({ kind, digest }) => `${kind} ${String(digest)}`)),
    new Set([`content-missing ${digestOf(layer)}`, `content-missing ${digestOf(image)}`]),
  )
  await registry.start()
  assert.equal((await client.head(`/v2/${name}/blobs/${digestOf(layer)}`)).status, 404)
  await client.pushBlob(name, layer)
  await client.pushManifest(name, image, mediaTypes.image)
  assertContent(await client.get(`/v2/${name}/blobs/${digestOf(layer)}`), { bytes: layer, digest: digestOf(layer) })
  assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes: image, digest: digestOf(image) })
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

test('beside a server the check asks for --online', async (t) => {
  const { folder } = await makeStore(t, (registry) => registry.start())
  const refused = await entrepot(['fsck', join(folder, 'config.yml')])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /^entrepot: a server works in the data folder .*--online/)
})

test('beside a server --quarantine has that server move damaged content away, even what it serves from memory', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const layers = [randomBlob(200_000), randomBlob(2_000_000)]
  const sound = await client.pushBlob(name, randomBlob(300_000))
  for (const bytes of layers) {
    const { digest } = await client.pushBlob(name, bytes)
    assertContent(await client.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
    await writeFile(contentFile(registry.dataDirectory, digest), randomBlob(bytes.length))
  }
  const target = { config: join(dirname(registry.dataDirectory), 'config.yml') }
  const options = { isOnline: true, options: ['--deep', '--quarantine'] }
  const { code, findings } = await runFsck(t, target, options)
  assert.equal(code, 1)
  const damaged = findings.filter(({ kind }) => kind === 'content-damaged')
  assert.deepEqual(new Set(damaged.map(({ digest }) => digest)), new Set(layers.map((bytes) => digestOf(bytes))))
  for (const { message } of damaged) assert.match(message, /it was moved to the folder quarantine/)
  for (const bytes of layers) {
    const digest = digestOf(bytes)
    assert.equal((await client.head(`/v2/${name}/blobs/${digest}`)).status, 404)
    await client.pushBlob(name, bytes)
    assertContent(await client.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
  }
  assert.equal((await client.head(`/v2/${name}/blobs/${sound.digest}`)).status, 200)
  await expectSound(t, target, { isOnline: true })
})

test('what was pushed again while the check went on stays where it is', async (t) => {
  const registry = await startRegistry(t)
  const { digest } = await new RegistryClient(registry.url).pushBlob(uniqueName('faults'), randomBlob(300_000))
  const answer = await manage(registry, 'POST', 'quarantine', { digest })
  assert.deepEqual(answer, { status: 200, body: { isMoved: false } })
  await stat(contentFile(registry.dataDirectory, digest))
})

test('people read one line for each finding and a sum, and how far a long check is', async (t) => {
  const { folder, store } = await makeStore(t)
  const [root, file] = [join(folder, 'data'), join(folder, 'config.yml')]
  const sound = await entrepot(['fsck', file])
  assert.equal(sound.code, 0, sound.stderr)
  assert.match(sound.stdout, /^checked 3 repositories, .*: 0 errors, 0 notices\n$/)
  await rm(contentFile(root, store.config))
  // 2 MB of blobs at 1 MiB/s.
  const startedAt = performance.now()
  const harmed = await entrepot(['fsck', '--deep', '--rate', '1', file])
  assert.equal(harmed.code, 1)
  assert.ok(performance.now() - startedAt > 1_900, 'it was faster than --rate allows')
  const [first, sum] = harmed.stdout.split('\n')
  assert.match(first ?? '', new RegExp(`^error: content-missing: ${store.config} .*push it again`))
  assert.match(sum ?? '', /: 1 errors, 0 notices$/)
  assert.match(harmed.stderr, /^\d+ contents, .* MiB hashed\n/)
  assert.equal((await entrepot(['fsck', '--rate', '0', file])).code, 2)
  const nowhere = await entrepot(['fsck'], { env: { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: join(folder, 'none') } })
  assert.equal(nowhere.code, 1)
  assert.match(nowhere.stderr, /there is no data folder/)
})

test('who has read enough, as with head, ends a check without an error', async (t) => {
  const { folder } = await makeStore(t)
  // More lines than fit into a pipe that nobody reads any more.
  const strays = Array.from({ length: 2_000 }, (_, index) => join(folder, 'data', 'blobs', `stray-${index}`))
  await Promise.all(strays.map(async (path) => writeFile(path, '')))
  const script = `set -o pipefail; "$0" "$@" | head -n 1`
  const { code, stdout, stderr } = await entrepot(['fsck', join(folder, 'config.yml')], {
    through: ['bash', '-c', script],
  })
  assert.match(stdout, /^notice: stray-name: [^\n]+\n$/)
  assert.equal(code, 1)
  assert.doesNotMatch(stderr, /EPIPE/)
})

/** Every file of a folder with its size, its time and its bytes' digest. */
async function listing(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const lines = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name)
    const { size, mtimeMs, ctimeMs } = await stat(path)
    return `${path} ${size} ${mtimeMs} ${ctimeMs} ${entry.isFile() ? digestOf(await readFile(path)) : ''}`
  })
  return (await Promise.all(lines)).toSorted()
}
