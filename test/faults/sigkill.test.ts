import { randomInt } from 'node:crypto'
import assert from 'node:assert/strict'
import { rename, mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRegistry } from '../harness.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { Pusher } from './pusher.ts'
import { Random } from '../random.ts'
import { byTier } from './tier.ts'

const PUSHERS = 20
const KILLS = Number(process.env.ENTREPOT_FAULT_KILLS ?? byTier({ quick: 10, ci: 30, release: 1_000 }))
/** After so many a new registry is begun: what must be there, and is pulled after each kill, grows with each of them. */
const KILLS_OF_ONE = 15

test(`SIGKILL in the middle of ${PUSHERS} pushes, ${KILLS} times, loses nothing that was acknowledged and shows nothing else`, async (t) => {
  const seed = process.env.ENTREPOT_FAULT_SEED ?? String(randomInt(2 ** 31))
  t.diagnostic(`ENTREPOT_FAULT_SEED=${seed}`)
  for (let done = 0; done < KILLS; done += KILLS_OF_ONE) {
    const kills = Math.min(KILLS_OF_ONE, KILLS - done)
    await t.test(`${kills} kills after ${done}`, async (t) => killOften(t, `${seed}/${done}`, kills))
  }
})

async function killOften(t: TestContext, seed: string, kills: number): Promise<void> {
  const random = new Random(seed)
  const registry = await startRegistry(t)
  const pushers = Array.from(
    { length: PUSHERS },
    (_, number) => new Pusher(`faults/pusher-${number}`, new Random(`${seed}/${number}`)),
  )
  for (let kill = 0; kill < kills; kill += 1) {
    const client = new RegistryClient(registry.url)
    const pushing = Promise.allSettled(pushers.map((pusher) => pusher.pushUntilCut(client)))
    await sleep(random.between(50, 500))
    await registry.kill()
    for (const outcome of await pushing) if (outcome.status === 'rejected') throw outcome.reason
    await registry.start()
    const reader = new RegistryClient(registry.url)
    await Promise.all(pushers.map((pusher) => pusher.verify(reader)))
  }
  const client = new RegistryClient(registry.url)
  await Promise.all(pushers.map((pusher) => pusher.finish(client)))
  await Promise.all(pushers.map((pusher) => pusher.verify(client)))
  const sum = (count: (pusher: Pusher) => number) => pushers.reduce((total, pusher) => total + count(pusher), 0)
  const [acknowledged, resumed] = [sum((pusher) => pusher.acknowledged), sum((pusher) => pusher.resumed)]
  t.diagnostic(`${acknowledged} blobs and manifests were acknowledged, ${resumed} uploads were resumed`)
  assert.ok(acknowledged >= PUSHERS * 10, 'too little was pushed to prove anything')
  assert.ok(resumed > 0, 'no upload was interrupted')
  const failures = registry.output().match(/a request failed/g) ?? []
  assert.equal(failures.length, 0, 'the server was surprised by an error')
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
