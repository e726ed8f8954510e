import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf, imageDocument, indexDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { assertContent, record, RegistryClient, strings } from '../registry-client.ts'
import { entrepot } from './command.ts'
import { collectGarbage, folderOf, listTrash, manage, restore, runJson } from './management-request.ts'

/** Garbage goes at the first run that finds it; runs are asked for. */
const GARBAGE_GOES_AT_ONCE = { garbagecollection: { age: '0s', interval: '1h' } }

async function start(t: TestContext, maintenance: Record<string, unknown> = {}, filesystem = {}) {
  const config = { storage: { filesystem, maintenance: { ...GARBAGE_GOES_AT_ONCE, ...maintenance } } }
  const registry = await startRegistry(t, { config })
  return { registry, client: new RegistryClient(registry.url) }
}

async function isStored({ dataDirectory }: TestRegistry, digest: string): Promise<boolean> {
  const [algorithm = '', hex = ''] = digest.split(':')
  return stat(join(dataDirectory, 'blobs', algorithm, hex.slice(0, 2), hex)).then(
    () => true,
    () => false,
  )
}

async function tagsOf(client: RegistryClient, name: string): Promise<string[]> {
  return strings(record((await client.get(`/v2/${name}/tags/list`)).json())['tags'])
}

async function deleteManifest(client: RegistryClient, name: string, reference: string): Promise<void> {
  assert.equal((await client.delete(`/v2/${name}/manifests/${reference}`)).status, 202)
}

/** Twice, for what is only noted in one run goes in the next. */
async function collectThoroughly(registry: TestRegistry): Promise<void> {
  await collectGarbage(registry)
  await collectGarbage(registry)
}

test('deleted images come back as they were, after garbage was collected and the server restarted', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const layer = randomBlob(100_000)
  const images: Buffer[] = []
  for (const bytes of [layer, randomBlob()]) {
    const image = imageDocument(await client.pushBlob(name), [await client.pushBlob(name, bytes)])
    await client.pushManifest(name, image, mediaTypes.image)
    images.push(image)
  }
  const index = indexDocument(
    images.map((image) => ({ mediaType: mediaTypes.image, digest: digestOf(image), size: image.length })),
  )
  const subject = await client.pushManifest(name, index, mediaTypes.index, { reference: 'v1' })
  await client.pushManifest(name, index, mediaTypes.index, { reference: 'latest' })
  const annotations = { 'org.example.made': 'today' }
  const signature = await client.pushImage(name, {}, { subject, artifactType: 'application/example', annotations })
  const referrers = (await client.get(`/v2/${name}/referrers/${subject.digest}`)).body
  const documents = [
    { bytes: index, mediaType: mediaTypes.index },
    { bytes: signature.bytes, mediaType: mediaTypes.image },
    ...images.map((bytes) => ({ bytes, mediaType: mediaTypes.image })),
  ]
  for (const { bytes } of documents) await deleteManifest(client, name, digestOf(bytes))
  await collectThoroughly(registry)
  for (const { bytes } of documents) {
    assert.equal((await client.get(`/v2/${name}/manifests/${digestOf(bytes)}`)).status, 404)
  }
  assert.deepEqual(await tagsOf(client, name), [])
  const without = record((await client.get(`/v2/${name}/referrers/${subject.digest}`)).json())
  assert.deepEqual(without['manifests'], [])
  await registry.stop()
  await registry.start()
  await collectThoroughly(registry)

  const restored = await runJson(registry, ['trash', 'restore', name, subject.digest])
  assert.deepEqual(
    strings(restored['manifests']).toSorted(),
    [subject.digest, ...images.map((image) => digestOf(image))].toSorted(),
  )
  assert.deepEqual(restored['tags'], ['latest', 'v1'])
  assert.equal((await restore(registry, name, signature.descriptor.digest)).status, 200)
  for (const { bytes, mediaType } of documents) {
    assertContent(await client.get(`/v2/${name}/manifests/${digestOf(bytes)}`), {
      bytes,
      digest: digestOf(bytes),
      mediaType,
    })
  }
  assertContent(await client.get(`/v2/${name}/blobs/${digestOf(layer)}`), { bytes: layer, digest: digestOf(layer) })
  assert.deepEqual(await tagsOf(client, name), ['latest', 'v1'])
  assert.deepEqual((await client.get(`/v2/${name}/referrers/${subject.digest}`)).body, referrers)
  assert.deepEqual(await listTrash(registry, name), [])
})

test('what has rested for long enough cannot be restored any more, and its bytes leave the disk', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const { descriptor, bytes } = await client.pushImage(name, { reference: 'v1' })
  const layer = String(record(JSON.parse(bytes.toString()).layers[0])['digest'])
  await deleteManifest(client, name, descriptor.digest)
  await collectThoroughly(registry)
  assert.ok((await isStored(registry, layer)) && (await isStored(registry, descriptor.digest)), 'while it rests')
  await registry.stop()
  const filesystem = { rootdirectory: registry.dataDirectory }
  const { registry: later } = await start(t, { trash: { age: '1ms' } }, filesystem)
  const sameFolder = { ...later, dataDirectory: registry.dataDirectory }
  await collectThoroughly(sameFolder)
  assert.ok(!(await isStored(registry, layer)) && !(await isStored(registry, descriptor.digest)), 'afterwards')
  assert.deepEqual(await listTrash(sameFolder, name), [])
  assert.equal((await restore(sameFolder, name, 'v1')).status, 404)
})

test('without a trash deletes are final, and what rested from before is given up', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const rested = await client.pushImage(name, { reference: 'v1' })
  await deleteManifest(client, name, rested.descriptor.digest)
  await registry.stop()
  const { registry: later } = await start(t, { trash: { age: '0s' } }, { rootdirectory: registry.dataDirectory })
  const sameFolder = { ...later, dataDirectory: registry.dataDirectory }
  const laterClient = new RegistryClient(later.url)
  const { descriptor } = await laterClient.pushImage(name, { reference: 'v2' })
  await deleteManifest(laterClient, name, 'v2')
  await deleteManifest(laterClient, name, descriptor.digest)
  await collectThoroughly(sameFolder)
  assert.deepEqual(await listTrash(sameFolder, name), [])
  for (const { digest } of [rested.descriptor, descriptor]) assert.ok(!(await isStored(registry, digest)), digest)
})

test('a tag whose name was given anew is restored under another name only, and the newest of several comes first', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const [first, second, third] = [
    await client.pushImage(name, { reference: 'v1' }),
    await client.pushImage(name),
    await client.pushImage(name),
  ]
  await deleteManifest(client, name, 'v1')
  await client.pushManifest(name, second.bytes, mediaTypes.image, { reference: 'v1' })
  const taken = await restore(registry, name, 'v1')
  assert.equal(taken.status, 409)
  assert.match(JSON.stringify(taken.body), /stands for sha256:[0-9a-f]{64} now; restore it under another name/)
  await deleteManifest(client, name, second.descriptor.digest)
  await client.pushManifest(name, third.bytes, mediaTypes.image, { reference: 'v1' })
  // The manifest comes back, and leaves the tag to what it stands for now.
  const manifest = await restore(registry, name, second.descriptor.digest)
  assert.deepEqual([manifest.status, manifest.body['tags'], manifest.body['takenTags']], [200, [], ['v1']])
  const newest = await restore(registry, name, 'v1', 'v1-second')
  assert.deepEqual([newest.status, newest.body['digest']], [200, second.descriptor.digest])
  assert.equal((await restore(registry, name, 'v1', 'v1-first')).body['digest'], first.descriptor.digest)
  const expected = { v1: third, 'v1-first': first, 'v1-second': second }
  assert.deepEqual(await tagsOf(client, name), Object.keys(expected))
  for (const [tag, { bytes, descriptor }] of Object.entries(expected)) {
    assertContent(await client.get(`/v2/${name}/manifests/${tag}`), { bytes, digest: descriptor.digest })
  }
  assert.deepEqual(await listTrash(registry, name), [])
})

test('a tag that came back under the name of another deleted one can be deleted again', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
  await client.pushManifest(name, bytes, mediaTypes.image, { reference: 'v2' })
  await deleteManifest(client, name, 'v1')
  await deleteManifest(client, name, 'v2')
  assert.equal((await restore(registry, name, 'v1', 'v2')).status, 200)
  assert.deepEqual(await listTrash(registry, name), [])
  await deleteManifest(client, name, 'v2')
  assert.deepEqual(await listTrash(registry, name), [`v2@${descriptor.digest}`])
})

test('a tag comes back with its manifest, where both were deleted', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
  await client.pushManifest(name, bytes, mediaTypes.image, { reference: 'v2' })
  await deleteManifest(client, name, 'v1')
  await deleteManifest(client, name, descriptor.digest)
  assert.equal((await client.delete(`/v2/${name}/manifests/${descriptor.digest}`)).status, 404, 'deleted twice')
  assert.deepEqual(
    await listTrash(registry, name),
    ['', 'v1', 'v2'].map((tag) => `${tag}@${descriptor.digest}`),
  )
  assert.equal((await restore(registry, name, 'v1')).status, 200)
  assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, digest: descriptor.digest })
  assert.deepEqual(await tagsOf(client, name), ['v1'])
  assert.equal((await restore(registry, name, 'v2')).status, 200)
  assert.deepEqual(await tagsOf(client, name), ['v1', 'v2'])
})

test('what is pushed again while it rests leaves the trash, and its other tags can still be restored', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
  await client.pushManifest(name, bytes, mediaTypes.image, { reference: 'v2' })
  await deleteManifest(client, name, descriptor.digest)
  await collectThoroughly(registry)
  // Its blobs have stayed, for it needs them.
  await client.pushManifest(name, bytes, mediaTypes.image, { reference: 'v1' })
  assert.deepEqual(await listTrash(registry, name), [`v2@${descriptor.digest}`])
  assert.equal((await restore(registry, name, descriptor.digest)).status, 404)
  assert.equal((await restore(registry, name, 'v2')).status, 200)
  assert.deepEqual(await tagsOf(client, name), ['v1', 'v2'])
})

test('a manifest whose layer was deleted on its own is not restored, and what is missing is named', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const layer = randomBlob()
  const image = imageDocument(await client.pushBlob(name), [await client.pushBlob(name, layer)])
  await client.pushManifest(name, image, mediaTypes.image, { reference: 'v1' })
  await deleteManifest(client, name, digestOf(image))
  assert.equal((await client.delete(`/v2/${name}/blobs/${digestOf(layer)}`)).status, 202)
  await collectThoroughly(registry)
  const refused = await restore(registry, name, 'v1')
  assert.equal(refused.status, 400)
  assert.ok(JSON.stringify(refused.body).includes(digestOf(layer)))
  assert.deepEqual(await tagsOf(client, name), [])
  await client.pushBlob(name, layer)
  assert.equal((await restore(registry, name, 'v1')).status, 200)
  assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes: image, digest: digestOf(image) })
})

test('of several who restore the same at once one does, and the others are told that it does not rest', async (t) => {
  const { registry, client } = await start(t)
  const name = uniqueName('trash')
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
  await deleteManifest(client, name, descriptor.digest)
  const answers = await Promise.all(Array.from({ length: 6 }, async () => restore(registry, name, descriptor.digest)))
  assert.deepEqual(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 404, 404, 404, 404, 404],
  )
  assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, digest: descriptor.digest })
})

test('the trash is listed to its end over pages, and emptied for one repository alone', async (t) => {
  const { registry, client } = await start(t)
  const [large, small] = [uniqueName('trash'), uniqueName('trash')]
  const { bytes, descriptor } = await client.pushImage(large)
  const tags = Array.from({ length: 2_050 }, (_, number) => `v${number}`)
  for (let begin = 0; begin < tags.length; begin += 50) {
    const query = tags.slice(begin, begin + 50).map((tag) => `tag=${tag}`)
    await client.putManifest(large, `${descriptor.digest}?${query.join('&')}`, bytes, mediaTypes.image)
  }
  const other = await client.pushImage(small, { reference: 'v1' })
  await deleteManifest(client, large, descriptor.digest)
  await deleteManifest(client, small, other.descriptor.digest)
  const { entries } = await runJson(registry, ['trash', 'list'])
  assert.ok(Array.isArray(entries))
  assert.equal(entries.length, tags.length + 3)
  const listed = new Set(
    entries.map((entry: unknown) => record(entry)).map(({ repository, tag }) => `${String(repository)}:${String(tag)}`),
  )
  assert.equal(listed.size, tags.length + 3)
  assert.ok(tags.every((tag) => listed.has(`${large}:${tag}`)))
  assert.deepEqual(await runJson(registry, ['trash', 'empty', '--repository', large]), {
    manifests: 1,
    tags: tags.length,
  })
  assert.equal((await restore(registry, large, descriptor.digest)).status, 404)
  await registry.stop()
  const text = await entrepot(['trash', 'restore', small, 'v1'], { env: folderOf(registry) })
  assert.equal(text.code, 0, text.stderr)
  assert.match(text.stdout, new RegExp(`^restored ${small}:v1, which stands for ${other.descriptor.digest}$`, 'm'))
  await registry.start()
  assert.equal((await client.get(`/v2/${small}/manifests/v1`)).status, 200)
})

test('a command says why nothing was restored, and nothing is while the registry is read-only', async (t) => {
  const { registry, client } = await start(t, { readonly: { enabled: true } })
  const absent = await entrepot(['trash', 'list', '--repository', 'no/such'], { env: folderOf(registry) })
  assert.equal(absent.code, 1)
  assert.match(absent.stderr, /there is no repository "no\/such"/)
  assert.equal((await client.get('/v2/')).status, 200)
  for (const [method, path, body] of [
    ['POST', 'trash/restorations', { repository: 'a', reference: 'v1' }],
    ['DELETE', 'trash', undefined],
  ] as const) {
    assert.equal((await manage(registry, method, path, body)).status, 405)
  }
})
