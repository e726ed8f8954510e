import assert from 'node:assert/strict'
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { GarbageAnswer, GarbageRun, GarbageRunsAnswer } from '@entrepot/server/management'
import { digestOf, imageDocument, indexDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { knownDatabase } from '../test-database.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

const SETTLE_MS = 20_000
const NOTHING = { contents: 0, bytes: 0 }

/** A registry in which garbage is collected as the test says, and its command. */
async function start(
  t: Parameters<typeof startRegistry>[0],
  garbagecollection: Record<string, unknown>,
  trashAge = '0s',
) {
  // Deleted manifests go at once, unless the test says that they rest first.
  const maintenance = { garbagecollection, trash: { age: trashAge } }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  const file = await writeConfig(
    await temporaryFolder(t),
    JSON.stringify({
      version: '0.1',
      storage: { filesystem: { rootdirectory: registry.dataDirectory }, maintenance },
      database: { url: knownDatabase(registry.dataDirectory) },
    }),
  )
  const text = async (...options: string[]) => {
    const { code, stdout, stderr } = await entrepot(['gc', ...options, file])
    assert.equal(code, 0, stderr)
    return { stdout, stderr }
  }
  const json = async <Value>(...options: string[]): Promise<Value> =>
    JSON.parse((await text(...options, '--json')).stdout)
  return {
    registry,
    client: new RegistryClient(registry.url),
    file,
    text,
    state: async () => json<GarbageAnswer & GarbageRunsAnswer>(),
    dryRun: async () => json<GarbageAnswer['reclaimable'] & { digests: string[] }>('--dry-run'),
    collect: async () => json<GarbageRun>('--now'),
  }
}

const pathOf = ({ dataDirectory }: TestRegistry, digest: string) => {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(dataDirectory, 'blobs', algorithm, hex.slice(0, 2), hex)
}

const isAbsent = async (path: string) =>
  stat(path).then(
    () => false,
    () => true,
  )

/**
 * Content that is needed, and content that is not: alone, in two repositories, needed in one of two, with a deleted image,
 * and with a deleted index whose image stays. @returns the digests of what nothing needs.
 */
async function fill(client: RegistryClient): Promise<{ garbage: string[]; needed: string[] }> {
  const [one, other] = [uniqueName(), uniqueName()]
  const [twice, shared, own] = [randomBlob(3_001), randomBlob(4_001), randomBlob(5_001)]
  const lonely = await client.pushBlob(one, randomBlob(2_001))
  for (const name of [one, other]) await client.pushBlob(name, twice)
  await client.pushBlob(other, shared)
  const config = await client.pushBlob(one)
  const kept = imageDocument(config, [await client.pushBlob(one, shared)])
  const doomed = imageDocument(config, [await client.pushBlob(one, shared), await client.pushBlob(one, own)])
  await client.pushManifest(one, kept, mediaTypes.image)
  await client.pushManifest(one, doomed, mediaTypes.image, { reference: 'doomed' })
  const index = indexDocument([{ mediaType: mediaTypes.image, digest: digestOf(kept), size: kept.length }])
  await client.pushManifest(one, index, mediaTypes.index)
  for (const manifest of [doomed, index]) await client.delete(`/v2/${one}/manifests/${digestOf(manifest)}`)
  return {
    garbage: [lonely.digest, digestOf(twice), digestOf(own), digestOf(doomed), digestOf(index)],
    needed: [config.digest, digestOf(shared), digestOf(kept)],
  }
}

for (const where of ['in the server that runs', 'in the folder while no server runs']) {
  test(`what is said to be reclaimable is exactly what a run then frees, ${where}`, async (t) => {
    const { registry, client, state, dryRun, collect } = await start(t, { enabled: false, age: '0s' })
    const { garbage, needed } = await fill(client)
    if (where !== 'in the server that runs') await registry.kill()
    const before = await state()
    const plan = await dryRun()
    assert.deepEqual(plan.digests.toSorted(), garbage.toSorted())
    assert.deepEqual([before.resting, before.trash], [NOTHING, NOTHING])
    assert.partialDeepStrictEqual(plan, before.reclaimable)
    for (const digest of garbage) assert.ok(!(await isAbsent(pathOf(registry, digest))), 'a dry run removes nothing')
    const run = await collect()
    assert.partialDeepStrictEqual(run, {
      startedBy: 'command',
      unlinkedBlobs: before.reclaimable.blobs,
      removedContents: before.reclaimable.contents,
      removedBytes: before.reclaimable.bytes,
      error: null,
    })
    for (const digest of garbage) assert.ok(await isAbsent(pathOf(registry, digest)), `${digest} is still there`)
    for (const digest of needed) assert.ok(!(await isAbsent(pathOf(registry, digest))), `${digest} is gone`)
    const after = await state()
    assert.deepEqual(after.reclaimable, { blobs: 0, contents: 0, bytes: 0 })
    assert.deepEqual(after.runs, [run])
  })
}

test('what rests becomes reclaimable when its time is over, to the byte', async (t) => {
  const { client, state, collect } = await start(t, { enabled: false, age: '3s' })
  await fill(client)
  // A run notes since when nothing needs the blobs; manifests that were deleted go at once.
  await collect()
  const { resting } = await state()
  assert.equal(resting.contents, 3)
  await until(
    async () => (await state()).reclaimable.bytes === resting.bytes,
    SETTLE_MS,
    () => 'what rested did not become reclaimable',
  )
  assert.deepEqual((await state()).resting, { contents: 0, bytes: 0 })
  assert.equal((await collect()).removedBytes, resting.bytes)
})

test('what only the trash keeps is told apart, and is reclaimable to the byte once the trash is emptied', async (t) => {
  const { client, file, state, collect } = await start(t, { enabled: false, age: '0s' }, '24h')
  const { garbage } = await fill(client)
  const before = await state()
  // The blob of no image and the one in two repositories; the rest is what two deleted manifests are and need.
  assert.deepEqual(before.reclaimable, { blobs: 3 + 1, contents: 2, bytes: 2_001 + 3_001 })
  assert.equal(before.trash.contents, garbage.length - 2)
  assert.equal((await collect()).removedBytes, before.reclaimable.bytes)
  assert.deepEqual((await state()).trash, before.trash)
  assert.equal((await entrepot(['trash', 'empty', file])).code, 0)
  const emptied = await state()
  assert.deepEqual(emptied.trash, { contents: 0, bytes: 0 })
  assert.equal(emptied.reclaimable.bytes, before.trash.bytes)
  assert.equal((await collect()).removedBytes, before.trash.bytes)
})

test('what has rested in the trash for its time counts as what the next run removes', async (t) => {
  const { client, state, collect } = await start(t, { enabled: false, age: '0s' }, '3s')
  await fill(client)
  const first = await state()
  assert.equal(first.trash.contents, 3)
  await until(
    async () => (await state()).trash.contents === 0,
    SETTLE_MS,
    () => 'the trash keeps what it should give up',
  )
  const { reclaimable } = await state()
  assert.equal(reclaimable.bytes, first.reclaimable.bytes + first.trash.bytes)
  assert.equal((await collect()).removedBytes, reclaimable.bytes)
})

test('the last hundred runs are remembered, with what started them, also after a crash', async (t) => {
  const { registry, state, collect } = await start(t, { age: '0s', interval: '25ms' })
  await until(
    async () => (await state()).runs.length === 100,
    SETTLE_MS,
    () => 'there are no hundred runs',
  )
  await collect()
  await registry.kill()
  const { runs, nextRunAt } = await state()
  assert.equal(runs.length, 100)
  assert.equal(nextRunAt, null)
  assert.deepEqual([...new Set(runs.map((run) => run.startedBy))].toSorted(), ['command', 'schedule'])
  const times = runs.map((run) => Date.parse(run.startedAt))
  assert.deepEqual(
    times,
    times.toSorted((one, other) => other - one),
    'the last one is the first',
  )
})

test('a run that fails says why, keeps what it has done in the history, and the next one goes on', async (t) => {
  const { registry, client, file, state, collect } = await start(t, { enabled: false, age: '0s' })
  const { digest } = await client.pushBlob(uniqueName(), randomBlob(1_000))
  // A folder in the place of the file cannot be removed as a file.
  await rm(pathOf(registry, digest))
  await mkdir(join(pathOf(registry, digest), 'inside'), { recursive: true })
  const { code, stderr } = await entrepot(['gc', '--now', file])
  assert.equal(code, 1)
  assert.match(stderr, /the run did not get to its end: .*directory/i)
  const [failed] = (await state()).runs
  assert.match(failed?.error ?? '', /directory/i)
  assert.equal(failed?.unlinkedBlobs, 1)
  const metrics = (await client.get('/metrics')).body.toString()
  assert.match(metrics, /^entrepot_garbage_unlinked_blobs_total 1$/m)
  assert.match(metrics, /^entrepot_garbage_last_run_timestamp_seconds 0$/m, 'it did not get to its end')
  await client.pushBlob(uniqueName(), randomBlob(2_000))
  assert.equal((await collect()).removedBytes, 2_000)
})

test('with a schedule, runs happen at its times and not before', async (t) => {
  const yearly = await start(t, { schedule: '0 0 1 1 *' })
  const { runs, nextRunAt, underWay } = await yearly.state()
  assert.deepEqual({ runs, underWay }, { runs: [], underWay: null })
  assert.equal(new Date(nextRunAt ?? '').getTime(), new Date(new Date().getFullYear() + 1, 0, 1).getTime())
  const eachSecond = await start(t, { schedule: '* * * * * *', interval: '500h' })
  await until(
    async () => (await eachSecond.state()).runs.length >= 3,
    SETTLE_MS,
    () => 'it does not run at the times of its schedule',
  )
  const seconds = (await eachSecond.state()).runs.map((run) => Math.floor(Date.parse(run.startedAt) / 1_000))
  assert.equal(new Set(seconds).size, seconds.length, 'no second has two runs')
})

test('a schedule that cannot be read, or whose time never comes, is refused at the start', async (t) => {
  for (const schedule of ['61 3 * * *', 'nightly', '0 0 30 2 *']) {
    const config = { version: '0.1', storage: { maintenance: { garbagecollection: { schedule } } } }
    const file = await writeConfig(await temporaryFolder(t), JSON.stringify(config))
    const { code, stderr } = await entrepot(['config', 'check', file])
    assert.equal(code, 1)
    assert.match(stderr, /garbagecollection\.schedule: expected a cron expression of times to come/)
  }
})

test('no more is removed in a second than the rate allows, and who waits sees how far it is', async (t) => {
  const { client, text } = await start(t, { enabled: false, age: '0s', rate: 20 })
  const name = uniqueName()
  for (let blob = 0; blob < 30; blob++) await client.pushBlob(name)
  const startedAt = Date.now()
  const { stdout, stderr } = await text('--now')
  // Each blob is taken from its repository, and its content removed.
  assert.ok(Date.now() - startedAt >= 2_900, 'it took less than three seconds')
  assert.match(stdout, /^Took 30 blobs from repositories, removed 30 contents and freed 7\.5 KiB \(7,680 bytes\) in \d/)
  assert.match(stderr, /^Took \d+ blobs? from repositories, removed \d+ contents? and freed .* so far\.$/m)
})

test('a run that is asked for while one is under way comes after it', async (t) => {
  const { client, collect, state } = await start(t, { enabled: false, age: '0s', rate: 100 })
  const name = uniqueName()
  for (let blob = 0; blob < 50; blob++) await client.pushBlob(name)
  const runs = await Promise.all([collect(), collect()])
  assert.deepEqual(
    runs.map((run) => run.removedContents).toSorted((one, other) => one - other),
    [0, 50],
  )
  const [last, first] = (await state()).runs
  assert.ok(last !== undefined && first !== undefined)
  assert.ok(Date.parse(last.startedAt) >= Date.parse(first.startedAt) + first.durationMs)
})

test('for people, the state is said in words', async (t) => {
  const { client, text } = await start(t, { enabled: false, age: '1h' })
  const name = uniqueName()
  await client.pushBlob(name, randomBlob(3_000))
  const { bytes, descriptor } = await client.pushImage(name)
  await client.delete(`/v2/${name}/manifests/${descriptor.digest}`)
  const fresh = (await text()).stdout
  assert.match(fresh, new RegExp(`^Reclaimable now +${bytes.length} B in 1 content$`, 'm'))
  assert.match(fresh, /^Resting +3\.4 KiB \(3,512 bytes\) in 3 contents$/m)
  assert.match(fresh, /^In the trash +0 B in 0 contents$/m)
  assert.match(fresh, /^Next run +none by itself: that is disabled, or the registry is read-only$/m)
  assert.match(fresh, /^There was no run yet\.$/m)
  assert.match((await text('--dry-run')).stdout, /^A run now would take 0 blobs from repositories, remove 1 content /)
  await text('--now')
  assert.match((await text()).stdout, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +command +0\.\d s +0 +1 +\d+ +done$/m)
})
