import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf, imageDocument, indexDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { Random } from '../random.ts'
import { RegistryClient } from '../registry-client.ts'
import { CORRUPTIONS } from './corruptions.ts'
import { faultSeed } from './fault-seed.ts'
import { expectFindings, expectSound, runFsck } from './fsck.ts'
import { byTier } from './tier.ts'
import { makeStore, pushVariedStore } from './varied-store.ts'

test('a healthy registry with all that there may be is sound, while it runs and after it has ended or was killed', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  await pushVariedStore(client, uniqueName('faults'))
  await expectSound(t, registry.dataDirectory, { isOnline: true })
  await registry.kill()
  await expectSound(t, registry.dataDirectory)
  await registry.start()
  await registry.stop()
  const { checked, findings } = await runFsck(t, registry.dataDirectory)
  // What rests in the trash counts too; what was deleted may wait for the garbage collector.
  const left = findings.filter((found) => found.kind !== 'content-unused')
  assert.deepEqual(left, [])
  const { repositories, manifests, tags, uploads } = checked
  assert.deepEqual({ repositories, manifests, tags, uploads }, { repositories: 3, manifests: 11, tags: 8, uploads: 1 })
})

test('each corruption of files, rows and bytes of the database is found, and nothing else is', async (t) => {
  const seed = faultSeed(t)
  const { folder, store } = await makeStore(t)
  const random = new Random(`${seed}`)
  const rounds = byTier({ quick: 1, ci: 1, release: 10 })
  const all = Array.from({ length: rounds }, () => CORRUPTIONS).flat()
  const shuffled = all.map((corruption) => ({ corruption, key: random.below(2 ** 30) }))
  const jobs = shuffled
    .toSorted((one, other) => one.key - other.key)
    .slice(0, byTier({ quick: 8, ci: Infinity, release: Infinity }))
    .map(({ corruption }, index) => ({
      corruption,
      root: join(folder, `harmed-${index}`),
      random: new Random(`${seed}-${index}`),
    }))
  await t.test(`${jobs.length} corruptions`, { concurrency: 2 }, async (t) => {
    for (const { corruption, root, random } of jobs) {
      void t.test(corruption.name, async (t) => {
        await cp(join(folder, 'data'), root, { recursive: true })
        await corruption.apply({ root, store, random })
        expectFindings(await runFsck(t, root), corruption.expected(store), corruption.consequences)
        await rm(root, { recursive: true })
      })
    }
  })
})

test('beside a server under load nothing is found, however much comes and goes', { timeout: 600_000 }, async (t) => {
  const maintenance = {
    trash: { age: '0s' },
    garbagecollection: { age: '100ms', interval: '20ms' },
  }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  const client = new RegistryClient(registry.url)
  const state = { isOver: false, rounds: 0 }
  // The same content in several repositories, so that what is removed is what is being pushed.
  const shared = Array.from({ length: 4 }, () => randomBlob(20_000))
  const load = async (name: string, random: Random) => {
    while (!state.isOver) {
      const layers = [random.pick(shared), randomBlob(random.between(1, 2_000))]
      const image = imageDocument(
        await client.pushBlob(name),
        await Promise.all(layers.map(async (bytes) => client.pushBlob(name, bytes))),
      )
      const answer = await client.putManifest(name, `t${random.below(5)}`, image, mediaTypes.image)
      if (answer.status === 201) {
        const index = indexDocument([{ mediaType: mediaTypes.image, digest: digestOf(image), size: image.length }])
        await client.putManifest(name, 'index', index, mediaTypes.index)
        await client.delete(`/v2/${name}/manifests/${digestOf(index)}`)
        await client.delete(`/v2/${name}/manifests/${digestOf(image)}`)
      }
      state.rounds++
    }
  }
  const seed = faultSeed(t)
  const clients = Array.from({ length: 4 }, async (_, index) =>
    load(`faults/load${index}`, new Random(`${seed}-${index}`)),
  )
  try {
    for (let check = 0; check < byTier({ quick: 3, ci: 40, release: 2_000 }); check++) {
      await expectSound(t, registry.dataDirectory, { isOnline: true })
    }
  } finally {
    state.isOver = true
    await Promise.all(clients)
  }
  t.diagnostic(`${state.rounds} rounds of pushing and deleting went on meanwhile`)
  assert.ok(state.rounds > 10)
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})
