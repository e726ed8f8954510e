import assert from 'node:assert/strict'
import { glob, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { skipUnlessRequired } from '../clients/programs.ts'
import { type TestRegistry, startRegistry, until } from '../harness.ts'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, describe } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { byTier, TIER } from './tier.ts'

const SECOND = 1_000
const HOUR_S = 3_600
const DAY_S = 24 * HOUR_S
/** How long things rest, in time that really passes. */
const AGE_MS = 6 * SECOND
/** So long the maintenance looks, under the other clock, at what is not old yet. */
const LOOKS_MS = 1_500
const PATIENCE_MS = 40 * SECOND
const JUMPS_S = [2 * HOUR_S, -2 * HOUR_S, 3 * DAY_S, 400 * DAY_S, -DAY_S]
const MAINTENANCE = {
  garbagecollection: { age: `${AGE_MS}ms`, interval: '200ms' },
  uploadpurging: { age: `${AGE_MS}ms`, interval: '200ms' },
  trash: { age: `${AGE_MS}ms` },
}

/** The clock of a server. */
interface Clock {
  readonly env: Record<string, string>
  /** Sets it so many seconds ahead of ours, or back. */
  set(aheadS: number): Promise<void>
}

test('a clock that jumps', { concurrency: 2 }, (t) => {
  void t.test('while the server runs makes nothing older or younger, and stops nothing', jumpWhileRunning)
  void t.test('back between two runs keeps nothing until the time that it was written at', jumpBetweenRuns)
})

async function jumpWhileRunning(t: TestContext): Promise<void> {
  const clock = await fakeClock(t)
  if (clock === undefined) return
  const registry = await startRegistry(t, { config: { storage: { maintenance: MAINTENANCE } }, env: clock.env })
  for (let round = 0; round < byTier({ quick: 1, ci: 1, release: 50 }); round += 1) {
    for (const jumpS of TIER === 'quick' ? [400 * DAY_S, -DAY_S] : JUMPS_S) {
      await t.test(`by ${jumpS / HOUR_S} hours`, async () => {
        await clock.set(0)
        await jump(registry, async () => {
          await clock.set(jumpS)
          assert.ok(Math.abs((await secondsAhead(registry)) - jumpS) < HOUR_S, 'the clock has not jumped')
        })
      })
    }
  }
  await clock.set(0)
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
}

/** Lets the clock jump between the steps of a push, and beside what nobody needs. */
async function jump(registry: TestRegistry, setClock: () => Promise<void>): Promise<void> {
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const bytes = randomBlob(100_000)
  const [garbage, deleted] = [await client.pushBlob(name), await client.pushImage(name, { reference: 'deleted' })]
  const abandoned = client.location(await client.patchChunk(await client.startUpload(name), randomBlob()))
  assert.equal((await client.delete(`/v2/${name}/manifests/${deleted.descriptor.digest}`)).status, 202)

  const upload = await client.startUpload(name)
  const half = client.location(await client.patchChunk(upload, bytes.subarray(0, 50_000)))
  const config = await client.pushBlob(name)
  const pushedAt = performance.now()
  await setClock()
  await sleep(LOOKS_MS)
  // What the machine has had no time to do is no failure of the server.
  if (performance.now() - pushedAt < AGE_MS) {
    assert.ok(await exists(contentFile(registry, deleted.descriptor.digest)), 'what was deleted still rests')
    const closed = await client.putBlob(half, digestOf(bytes), bytes.subarray(50_000))
    assert.equal(closed.status, 201, describe(closed))
    const layer = { mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: bytes.length }
    const image = imageDocument(config, [layer])
    const put = await client.putManifest(name, 'kept', image, mediaTypes.image)
    assert.equal(put.status, 201, describe(put))
    await untilGone(contentFile(registry, garbage.digest))
    assertContent(await client.get(`/v2/${name}/manifests/kept`), { bytes: image, digest: digestOf(image) })
    assertContent(await client.get(`/v2/${name}/blobs/${layer.digest}`), { bytes, digest: layer.digest })
  }
  await untilGone(contentFile(registry, garbage.digest))
  await untilGone(contentFile(registry, deleted.descriptor.digest))
  // Its bytes have a time that the clock, when it was set back, has not reached yet.
  if ((await secondsAhead(registry)) > -HOUR_S) await untilGone(uploadFile(registry, abandoned))
}

async function jumpBetweenRuns(t: TestContext): Promise<void> {
  const clock = await fakeClock(t)
  if (clock === undefined) return
  await clock.set(400 * DAY_S)
  const registry = await startRegistry(t, { config: { storage: { maintenance: MAINTENANCE } }, env: clock.env })
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const garbage = await client.pushBlob(name)
  const deleted = await client.pushImage(name, { reference: 'deleted' })
  const kept = await client.pushImage(name, { reference: 'kept' })
  assert.equal((await client.delete(`/v2/${name}/manifests/${deleted.descriptor.digest}`)).status, 202)
  // Until a run has noted the garbage, with the time that is still to come.
  await sleep(LOOKS_MS)
  await registry.stop()
  await clock.set(0)
  await registry.start()
  await untilGone(contentFile(registry, garbage.digest))
  await untilGone(contentFile(registry, deleted.descriptor.digest))
  const { bytes, descriptor } = kept
  assertContent(await new RegistryClient(registry.url).get(`/v2/${name}/manifests/kept`), {
    bytes,
    digest: descriptor.digest,
  })
}

/** A clock for one server, by libfaketime: timers, which count what passes, are left alone, as they are by a real jump. */
async function fakeClock(t: TestContext): Promise<Clock | undefined> {
  const [library] = await Array.fromAsync(glob('/usr/lib/*/faketime/libfaketimeMT.so.1'))
  if (library === undefined) {
    skipUnlessRequired(t, 'libfaketime is not installed')
    return undefined
  }
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-clock-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'offset')
  const set = async (aheadS: number) => writeFile(file, `${aheadS < 0 ? '' : '+'}${aheadS}\n`)
  await set(0)
  const env = {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  }
  return { env, set }
}

/** How far the server's clock is ahead of ours, by the Date header of an answer. */
async function secondsAhead(registry: TestRegistry): Promise<number> {
  // Node.js makes the header anew each second.
  await sleep(SECOND)
  const answer = await fetch(`${registry.url}/healthz`)
  return (Date.parse(answer.headers.get('date') ?? '') - Date.now()) / SECOND
}

async function untilGone(file: string): Promise<void> {
  await until(
    async () => !(await exists(file)),
    PATIENCE_MS,
    () => `${file} is still there`,
  )
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

function contentFile(registry: TestRegistry, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(registry.dataDirectory, 'blobs', algorithm, hex.slice(0, 2), hex)
}

function uploadFile(registry: TestRegistry, url: string): string {
  return join(registry.dataDirectory, 'uploads', basename(new URL(url).pathname))
}
