import { randomInt } from 'node:crypto'
import assert from 'node:assert/strict'
import { rename, mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRegistry } from '../harness.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { isConnectionError, Pusher } from './pusher.ts'
import { Random } from '../random.ts'
import { byTier } from './tier.ts'

const PUSHERS = 16
const KILLS = Number(process.env.ENTREPOT_FAULT_KILLS ?? byTier({ quick: 5, ci: 30, release: 1_000 }))
/** After so many a new registry is begun: what must be there, and is pulled after each kill, grows with each of them. */
const KILLS_OF_ONE = 15
/** A blob that no manifest needs goes soon: many of those whose push a kill has cut off. */
const UNNEEDED_MS = 500
const MAINTENANCE = { trash: { age: '0s' }, garbagecollection: { age: `${UNNEEDED_MS}ms`, interval: '1s' } }
const GARBAGE_NAME = 'faults/garbage'
const GARBAGE_BYTES = 10_000
const GARBAGE_CLIENTS = 4
const MAX_WAITS = 20
/** From the start to an answer that says that it is ready; the quick tier runs beside other tests. */
const MAX_RESTART_MS = byTier({ quick: 15_000, ci: 5_000, release: 5_000 })

test(`SIGKILL in the middle of ${PUSHERS} pushes beside the collector, ${KILLS} times, loses nothing that was acknowledged and shows nothing else`, async (t) => {
  const seed = process.env.ENTREPOT_FAULT_SEED ?? String(randomInt(2 ** 31))
  t.diagnostic(`ENTREPOT_FAULT_SEED=${seed}`)
  const restartsMs: number[] = []
  for (let done = 0; done < KILLS; done += KILLS_OF_ONE) {
    const kills = Math.min(KILLS_OF_ONE, KILLS - done)
    await t.test(`${kills} kills after ${done}`, async (t) => {
      restartsMs.push(...(await killOften(t, `${seed}/${done}`, kills)))
    })
  }
  const sorted = restartsMs.toSorted((one, other) => one - other)
  const slowMs = sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY
  t.diagnostic(`99 % of ${sorted.length} restarts took ${Math.round(slowMs)} ms`)
  assert.ok(slowMs <= MAX_RESTART_MS, `a restart took ${slowMs} ms`)
})

/** @returns how long each restart took, in ms. */
async function killOften(t: TestContext, seed: string, kills: number): Promise<readonly number[]> {
  const random = new Random(seed)
  const registry = await startRegistry(t, { config: { storage: { maintenance: MAINTENANCE } } })
  const restartsMs: number[] = []
  const garbage: string[] = []
  const pushers = Array.from(
    { length: PUSHERS },
    (_, number) => new Pusher(`faults/pusher-${number}`, new Random(`${seed}/${number}`), UNNEEDED_MS),
  )
  for (let kill = 0; kill < kills; kill += 1) {
    const client = new RegistryClient(registry.url)
    const pushing = Promise.allSettled([
      ...pushers.map((pusher) => pusher.pushUntilCut(client)),
      ...Array.from({ length: GARBAGE_CLIENTS }, async () => pushGarbageUntilCut(client, garbage)),
    ])
    // On a busy machine the first waits may be over before there is anything for the collector.
    for (let waits = 0; waits === 0 || (garbage.length <= kill && waits < MAX_WAITS); waits += 1) {
      await sleep(random.between(50, 500))
    }
    await registry.kill()
    for (const outcome of await pushing) if (outcome.status === 'rejected') throw outcome.reason
    const killedAt = performance.now()
    await registry.start()
    restartsMs.push(performance.now() - killedAt)
    const reader = new RegistryClient(registry.url)
    await Promise.all(pushers.map((pusher) => pusher.verify(reader)))
  }
  const client = new RegistryClient(registry.url)
  await Promise.all(pushers.map((pusher) => pusher.finish(client)))
  await Promise.all(pushers.map((pusher) => pusher.verify(client)))
  const sum = (count: (pusher: Pusher) => number) => pushers.reduce((total, pusher) => total + count(pusher), 0)
  const [acknowledged, resumed] = [sum((pusher) => pusher.acknowledged), sum((pusher) => pusher.resumed)]
  const found = await Promise.all(garbage.map(async (digest) => client.head(`/v2/${GARBAGE_NAME}/blobs/${digest}`)))
  const collected = found.filter(({ status }) => status === 404).length
  t.diagnostic(
    `${acknowledged} blobs and manifests were acknowledged, ${resumed} uploads resumed; of the pushers' blobs ` +
      `${sum((pusher) => pusher.collected)} were collected, and ${collected} of ${garbage.length} that nobody meant to need`,
  )
  assert.ok(acknowledged >= PUSHERS * 10, 'too little was pushed to prove anything')
  assert.ok(resumed > 0, 'no upload was interrupted')
  assert.ok(collected >= kills, `the collector took only ${collected} blobs`)
  const failures = registry.output().match(/a request failed/g) ?? []
  assert.equal(failures.length, 0, 'the server was surprised by an error')
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
  return restartsMs
}

/** Work for the collector: what is kept as long as nobody asks for it. */
async function pushGarbageUntilCut(client: RegistryClient, pushed: string[]): Promise<void> {
  try {
    for (;;) {
      const bytes = randomBlob(GARBAGE_BYTES)
      const target = `/v2/${GARBAGE_NAME}/blobs/uploads/?digest=${digestOf(bytes)}`
      const answer = await client.post(target, { body: bytes })
      assert.equal(answer.status, 201, describe(answer))
      pushed.push(digestOf(bytes))
    }
  } catch (error) {
    if (!isConnectionError(error)) throw error
  }
}

test('an upload that a crash caught between its rename and its transaction shows no blob, and begins again', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const [name, bytes] = [uniqueName('faults'), randomBlob(100_000)]
  const digest = digestOf(bytes)
  const patched = await client.patchChunk(await client.startUpload(name), bytes)
  const url = client.location(patched)
  await registry.kill()
  const hex = digest.slice('sha256:'.length)
  const blob = join(registry.dataDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex)
  await mkdir(dirname(blob), { recursive: true })
  await rename(join(registry.dataDirectory, 'uploads', basename(new URL(url).pathname)), blob)
  await registry.start()

  const again = new RegistryClient(registry.url)
  assertRefused(await again.get(`/v2/${name}/blobs/${digest}`), 404)
  const status = await again.get(url)
  assert.equal(status.status, 204, describe(status))
  assert.equal(status.header('range'), '0-0')
  const sent = await again.patchChunk(again.location(status), bytes, `0-${bytes.length - 1}`)
  assert.equal(sent.status, 202, describe(sent))
  const closed = await again.putBlob(again.location(sent), digest)
  assert.equal(closed.status, 201, describe(closed))
  assertContent(await again.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
})
