import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { cp, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { isMinioPresent } from '../minio-server.ts'
import { Random } from '../random.ts'
import { assertContent } from '../registry-client.ts'
import { ROWS } from './corruptions.ts'
import { faultSeed } from './fault-seed.ts'
import { expectFindings, expectSound, runFsck } from './fsck.ts'
import { sharedMinio, startInBucket } from './registry-in-bucket.ts'
import { type HarmedBucket, S3_CORRUPTIONS } from './s3-corruptions.ts'
import { startS3Proxy } from '../s3-proxy.ts'
import { byTier } from './tier.ts'
import { pushVariedStore } from './varied-store.ts'

test('a healthy bucket with all that there may be is sound, while a server runs and after it was killed', async (t) => {
  if (!isMinioPresent(t)) return
  const { registry, client, target } = await startInBucket(t)
  await pushVariedStore(client, uniqueName('faults'))
  await expectSound(t, target, { isOnline: true })
  await registry.kill()
  const { checked, findings } = await runFsck(t, target)
  assert.deepEqual(
    findings.filter(({ kind }) => kind !== 'content-unused'),
    [],
  )
  const { repositories, manifests, tags, uploads, blobs, files } = checked
  assert.deepEqual({ repositories, manifests, tags, uploads }, { repositories: 3, manifests: 11, tags: 8, uploads: 1 })
  assert.equal(files, blobs)
})

test(
  'each corruption of a bucket, and of rows beside it, is found, and nothing else is',
  { timeout: 900_000 },
  async (t) => {
    if (!isMinioPresent(t)) return
    const seed = faultSeed(t)
    const { registry, client, bucket } = await startInBucket(t)
    const store = await pushVariedStore(client, uniqueName('faults'))
    await registry.stop()
    const folder = dirname(registry.dataDirectory)
    const { storage } = await sharedMinio()
    const random = new Random(`${seed}`)
    const limit = byTier({ quick: 8, ci: Infinity, release: Infinity })
    const chosen = <Item>(items: readonly Item[]) =>
      items
        .map((item) => ({ item, key: random.below(2 ** 30) }))
        .toSorted((one, other) => one.key - other.key)
        .slice(0, limit)
        .map(({ item }) => item)
    const harms = [
      ...chosen(S3_CORRUPTIONS).map((corruption) => ({
        consequences: [],
        ...corruption,
        harm: async (_root: string, bucket: HarmedBucket, random: Random) =>
          corruption.apply({ bucket, store, random }),
      })),
      ...chosen(ROWS).map((corruption) => ({
        consequences: [],
        ...corruption,
        harm: async (root: string, _bucket: HarmedBucket, random: Random) => corruption.apply({ root, store, random }),
      })),
    ]
    await t.test(`${harms.length} corruptions`, { concurrency: 2 }, async (t) => {
      for (const [index, { name, harm, expected, consequences }] of harms.entries()) {
        void t.test(name, async (t) => {
          const [root, rootdirectory] = [join(folder, `harmed-${index}`), randomUUID()]
          await cp(registry.dataDirectory, root, { recursive: true })
          const copy = await bucket.copyTo(rootdirectory)
          await harm(root, copy, new Random(`${seed}-${index}`))
          const config = join(folder, `harmed-${index}.yml`)
          const s3 = { ...storage, rootdirectory }
          await writeFile(
            config,
            JSON.stringify({ version: '0.1', storage: { filesystem: { rootdirectory: root }, s3 } }),
          )
          expectFindings(await runFsck(t, { config }), expected(store), consequences)
          await rm(root, { recursive: true })
          await copy.remove('')
        })
      }
    })
  },
)

test('a check asks the bucket once for each content, and for a page of names at a time', async (t) => {
  if (!isMinioPresent(t)) return
  const proxy = await startS3Proxy(t, (await sharedMinio()).port)
  const { client, target } = await startInBucket(t, { s3: { regionendpoint: proxy.url } })
  const name = uniqueName('faults')
  const pushed = await Promise.all(Array.from({ length: 60 }, async () => client.pushBlob(name, randomBlob(100))))
  proxy.requests.length = 0
  await expectSound(t, target, { isOnline: true, options: [] })
  const count = (operation: string) => proxy.requests.filter((request) => request.operation === operation).length
  assert.equal(count('head'), pushed.length)
  assert.ok(count('list') < 20, `${count('list')} lists`)
})

test('what --quarantine moves away in a bucket is healed by pushing it again, beside a server and without', async (t) => {
  if (!isMinioPresent(t)) return
  const { registry, client, target, bucket } = await startInBucket(t)
  const name = uniqueName('faults')
  const layers = [randomBlob(200_000), randomBlob(2_000_000)]
  const config = await client.pushBlob(name)
  const pushed = await Promise.all(layers.map(async (bytes) => client.pushBlob(name, bytes)))
  await client.putManifest(name, 'v1', imageDocument(config, pushed), mediaTypes.image)
  for (const isOnline of [false, true]) {
    for (const bytes of layers) {
      await bucket.put((await bucket.markerOf(digestOf(bytes))).object, randomBlob(bytes.length))
    }
    await registry.stop()
    // A server remembers for a while which bytes an object had.
    if (isOnline) await registry.start()
    const options = { isOnline, options: ['--deep', '--quarantine'] }
    const { code, findings } = await runFsck(t, target, options)
    assert.equal(code, 1)
    const damaged = findings.filter(({ kind }) => kind === 'content-damaged')
    assert.deepEqual(new Set(damaged.map(({ digest }) => digest)), new Set(layers.map((bytes) => digestOf(bytes))))
    for (const { message } of damaged) assert.match(message, /it was moved to the folder quarantine/)
    assert.equal(findings.filter(({ kind }) => kind === 'quarantined').length, 2)
    if (!isOnline) await registry.start()
    for (const bytes of layers) {
      const digest = digestOf(bytes)
      assert.equal((await client.head(`/v2/${name}/blobs/${digest}`)).status, 404)
      await client.pushBlob(name, bytes)
      assertContent(await client.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
    }
    await expectSound(t, target, { isOnline: true })
  }
})

test(
  'beside a server under load nothing is found in a bucket, however much comes and goes',
  { timeout: 600_000 },
  async (t) => {
    if (!isMinioPresent(t)) return
    const maintenance = { trash: { age: '0s' }, garbagecollection: { age: '1s', interval: '100ms' } }
    const { registry, client, target } = await startInBucket(t, { maintenance })
    const state = { isOver: false, rounds: 0 }
    const common = Array.from({ length: 4 }, () => randomBlob(20_000))
    const load = async (name: string, random: Random) => {
      while (!state.isOver) {
        const layers = [random.pick(common), randomBlob(random.between(1, 2_000))]
        const blobs = await Promise.all(layers.map(async (bytes) => client.pushBlob(name, bytes)))
        const image = imageDocument(await client.pushBlob(name), blobs)
        await client.putManifest(name, `t${random.below(5)}`, image, mediaTypes.image)
        await client.delete(`/v2/${name}/manifests/${digestOf(image)}`)
        state.rounds++
      }
    }
    const seed = faultSeed(t)
    const clients = Array.from({ length: 3 }, async (_, index) =>
      load(`faults/load${index}`, new Random(`${seed}-${index}`)),
    )
    try {
      for (let check = 0; check < byTier({ quick: 3, ci: 20, release: 1_000 }); check++) {
        await expectSound(t, target, { isOnline: true })
      }
    } finally {
      state.isOver = true
      await Promise.all(clients)
    }
    t.diagnostic(`${state.rounds} rounds of pushing and deleting went on meanwhile`)
    assert.ok(state.rounds > 10)
    await registry.stop()
    await expectSound(t, target)
  },
)
