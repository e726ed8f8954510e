import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { stat, writeFile, mkdir, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, indexDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { assertContent, describe, RegistryClient } from '../registry-client.ts'

const SETTLE_MS = 20_000
const RACE_MS = 60_000

const NO_TRASH = { trash: { age: '0s' } }
/** Looks again and again, and lets a blob that nothing needs go at once. */
const EAGER = { ...NO_TRASH, garbagecollection: { age: '0s', interval: '50ms' } }
/** The same with time enough to push a manifest after its blobs. */
const PATIENT = { ...NO_TRASH, garbagecollection: { age: '2s', interval: '100ms' } }

const pathOf = (dataDirectory: string, digest: string) => {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(dataDirectory, 'blobs', algorithm, hex.slice(0, 2), hex)
}

const exists = async (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

test('what a deleted image alone needed leaves the disk, what others need stays', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: PATIENT } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const [shared, own] = [randomBlob(300_000), randomBlob(300_000)]
  const config = await client.pushBlob(name)
  const sharedLayer = await client.pushBlob(name, shared)
  const kept = imageDocument(config, [sharedLayer])
  await client.putManifest(name, 'kept', kept, mediaTypes.image)
  const doomed = imageDocument(config, [sharedLayer, await client.pushBlob(name, own)])
  await client.putManifest(name, 'doomed', doomed, mediaTypes.image)
  await client.delete(`/v2/${name}/manifests/${digestOf(doomed)}`)

  for (const digest of [digestOf(own), digestOf(doomed)]) {
    const path = pathOf(registry.dataDirectory, digest)
    await until(
      async () => !(await exists(path)),
      SETTLE_MS,
      () => `${digest} is still on the disk`,
    )
    assert.equal((await client.head(`/v2/${name}/blobs/${digest}`)).status, 404)
  }
  assertContent(await client.get(`/v2/${name}/blobs/${digestOf(shared)}`), { bytes: shared, digest: digestOf(shared) })
  assertContent(await client.get(`/v2/${name}/manifests/kept`), {
    bytes: kept,
    digest: digestOf(kept),
    mediaType: mediaTypes.image,
  })
  await until(
    async () => {
      const metrics = (await client.get('/metrics')).body.toString()
      const counts = [
        /removed_contents_total 2$/m,
        new RegExp(`removed_bytes_total ${own.length + doomed.length}$`, 'm'),
      ]
      return counts.every((count) => count.test(metrics))
    },
    SETTLE_MS,
    () => 'the metrics do not tell of it',
  )
})

test('content stays while any repository has it, and an index keeps its images', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: PATIENT } } })
  const client = new RegistryClient(registry.url)
  const [one, other] = [uniqueName(), uniqueName()]
  const layer = randomBlob(300_000)
  const image = imageDocument(await client.pushBlob(one), [await client.pushBlob(one, layer)])
  await client.putManifest(one, digestOf(image), image, mediaTypes.image)
  const child = { mediaType: mediaTypes.image, digest: digestOf(image), size: image.length }
  await client.putManifest(one, 'index', indexDocument([child]), mediaTypes.index)
  await client.post(`/v2/${other}/blobs/uploads/?mount=${digestOf(layer)}&from=${one}`)
  const unneeded = await client.pushBlob(one, randomBlob(300_000))
  await until(
    async () => !(await exists(pathOf(registry.dataDirectory, unneeded.digest))),
    SETTLE_MS,
    () => 'a blob that nothing needs is still on the disk',
  )
  assert.equal((await client.get(`/v2/${one}/manifests/${digestOf(image)}`)).status, 200)
  assertContent(await client.get(`/v2/${one}/blobs/${digestOf(layer)}`), { bytes: layer, digest: digestOf(layer) })
})

test('a client that was told that a blob is there can push a manifest that needs it', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: PATIENT } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const layer = await client.pushBlob(name, randomBlob(300_000))
  const config = await client.pushBlob(name)
  // Each time asked for shortly before it would be collected.
  for (let round = 0; round < 5; round++) {
    await sleep(1_200)
    for (const { digest } of [layer, config]) {
      assert.equal((await client.head(`/v2/${name}/blobs/${digest}`)).status, 200, `round ${round}`)
    }
  }
  const image = imageDocument(config, [layer])
  const answer = await client.putManifest(name, 'v1', image, mediaTypes.image)
  assert.equal(answer.status, 201, describe(answer))
})

test('pushes that race with the collector are either refused or there for good', { timeout: 120_000 }, async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: EAGER } } })
  const client = new RegistryClient(registry.url)
  // The same content again and again, in several repositories, so that what is removed is what is being pushed.
  const [config, layer] = [randomBlob(2_000), randomBlob(100_000)]
  const image = imageDocument(describeBlob(config), [describeBlob(layer)])
  const digest = digestOf(image)
  let acknowledged = 0
  let refused = 0
  const push = async (name: string) => {
    await client.pushBlob(name, config)
    await client.pushBlob(name, layer)
    // Sometimes long enough for the collector to come in between, and as often at once.
    if (randomInt(2) === 0) await sleep(randomInt(200))
    const answer = await client.putManifest(name, 'v1', image, mediaTypes.image)
    if (answer.status !== 201) {
      assert.deepEqual([answer.status, /BLOB_UNKNOWN/.test(answer.body.toString())], [400, true], describe(answer))
      refused++
      return
    }
    acknowledged++
    await sleep(60)
    for (const blob of [config, layer]) {
      const found = await client.get(`/v2/${name}/blobs/${digestOf(blob)}`)
      assertContent(found, { bytes: blob, digest: digestOf(blob) })
    }
    assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes: image, digest, mediaType: mediaTypes.image })
    await client.delete(`/v2/${name}/manifests/${digest}`)
  }
  const names = Array.from({ length: 6 }, uniqueName)
  // On a busy machine the collector comes first in most rounds, or in few: they go on until both have happened.
  const deadline = Date.now() + RACE_MS
  const isProven = () => acknowledged > 10 && refused > 10
  await Promise.all(
    names.map(async (name) => {
      for (let round = 0; round < 20 || (!isProven() && Date.now() < deadline); round++) await push(name)
    }),
  )
  t.diagnostic(`${acknowledged} pushes were acknowledged, ${refused} refused`)
  assert.ok(isProven(), `${acknowledged} acknowledged, ${refused} refused`)
})

test('what is pushed again while it is being removed is there', { timeout: 120_000 }, async (t) => {
  // Blobs that nothing needs stay for long, so that only those that were deleted are removed.
  const garbagecollection = { age: '1h', interval: '1ms' }
  const registry = await startRegistry(t, { config: { storage: { maintenance: { garbagecollection } } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const blobs = Array.from({ length: 160 }, () => randomBlob(1_000))
  const push = async (bytes: Buffer) => {
    const query = `?digest=${encodeURIComponent(digestOf(bytes))}`
    const answer = await client.post(`/v2/${name}/blobs/uploads/${query}`, { body: bytes })
    assert.equal(answer.status, 201, describe(answer))
  }
  for (let round = 0; round < 4; round++) {
    await Promise.all(
      blobs.map(async (bytes) => {
        await push(bytes)
        await client.delete(`/v2/${name}/blobs/${digestOf(bytes)}`)
        await sleep(randomInt(1_000))
        await push(bytes)
      }),
    )
    await sleep(100)
    for (const bytes of blobs) {
      assert.ok(
        await exists(pathOf(registry.dataDirectory, digestOf(bytes))),
        `round ${round}: a pushed blob has no file`,
      )
    }
  }
  const metrics = (await client.get('/metrics')).body.toString()
  const removed = Number(/removed_contents_total (\d+)/.exec(metrics)?.[1])
  t.diagnostic(`${removed} of ${4 * blobs.length} contents were removed before they came again`)
  assert.ok(removed > blobs.length)
})

test('a collector that is killed at any moment leaves everything that is needed, and is taken up again', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: PATIENT } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const layer = randomBlob(200_000)
  const image = imageDocument(await client.pushBlob(name), [await client.pushBlob(name, layer)])
  await client.putManifest(name, 'v1', image, mediaTypes.image)
  const garbage: Buffer[] = []
  for (let kill = 0; kill < 5; kill++) {
    for (let blob = 0; blob < 40; blob++) {
      const bytes = randomBlob(5_000)
      await client.pushBlob(name, bytes)
      garbage.push(bytes)
    }
    // Of the rounds before, some blobs are being collected about now.
    await sleep(700)
    await registry.kill()
    await registry.start()
    assertContent(await client.get(`/v2/${name}/blobs/${digestOf(layer)}`), { bytes: layer, digest: digestOf(layer) })
    assert.equal((await client.get(`/v2/${name}/manifests/v1`)).status, 200)
  }
  const untilGone = async (digest: string) =>
    until(
      async () => !(await exists(pathOf(registry.dataDirectory, digest))),
      SETTLE_MS,
      () => `${digest} is still on the disk`,
    )
  await untilGone((await client.pushBlob(name)).digest)
  // A kill between the transaction and the removal leaves files of which no row tells, until they are pushed again.
  let left = 0
  for (const bytes of garbage) {
    const digest = digestOf(bytes)
    assert.equal((await client.head(`/v2/${name}/blobs/${digest}`)).status, 404, `${digest} was forgotten`)
    if (!(await exists(pathOf(registry.dataDirectory, digest)))) continue
    left += 1
    await client.pushBlob(name, bytes)
  }
  for (const bytes of garbage) await untilGone(digestOf(bytes))
  t.diagnostic(`${left} files were left of which no row told`)
})

test('a file of which no row tells stays: its row may be in a backup of the database', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: EAGER } } })
  const client = new RegistryClient(registry.url)
  const bytes = randomBlob(1_000)
  const path = pathOf(registry.dataDirectory, digestOf(bytes))
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, bytes)
  const past = new Date(Date.now() - 60_000)
  await utimes(path, past, past)
  // Twice, so that one whole run lies between.
  for (let round = 0; round < 2; round++) {
    const garbage = await client.pushBlob(uniqueName())
    await until(
      async () => !(await exists(pathOf(registry.dataDirectory, garbage.digest))),
      SETTLE_MS,
      () => 'a blob that nothing needs is still on the disk',
    )
  }
  assert.ok(await exists(path))
})

test('nothing is collected while that is disabled, or while the registry is read-only', async (t) => {
  const garbagecollection = { ...EAGER.garbagecollection, enabled: false }
  const first = await startRegistry(t, { config: { storage: { maintenance: { garbagecollection } } } })
  const client = new RegistryClient(first.url)
  const name = uniqueName()
  const { digest } = await client.pushBlob(name)
  await client.delete(`/v2/${name}/blobs/${digest}`)
  const path = pathOf(first.dataDirectory, digest)
  await sleep(500)
  assert.ok(await exists(path), 'while that is disabled')
  await first.stop()
  const filesystem = { rootdirectory: first.dataDirectory }
  const maintenance = { ...EAGER, readonly: { enabled: true } }
  const second = await startRegistry(t, { config: { storage: { filesystem, maintenance } } })
  await sleep(500)
  assert.ok(await exists(path), 'while the registry is read-only')
  await second.stop()
  await startRegistry(t, { config: { storage: { filesystem, maintenance: EAGER } } })
  await until(
    async () => !(await exists(path)),
    SETTLE_MS,
    () => 'it is still there, though it is garbage',
  )
})

function describeBlob(bytes: Buffer) {
  return { mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: bytes.length }
}
