import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestRegistry, startRegistry, until } from '../harness.ts'
import { RegistryClient, describe } from '../registry-client.ts'
import { Random } from '../random.ts'
import { closing, deletion, manifest, Models, mount, type Prepare, singlePost } from './attempts.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { Pusher } from './pusher.ts'
import { type SmallDisk, withSmallDisk } from './small-disk.ts'
import { byTier } from './tier.ts'

const PATIENCE_MS = 20_000
const PUSHERS = 3
/** So many commits let the database begin its log anew: from then on syncing it writes nothing but its content. */
const WARM_UP_COMMITS = 230

/** What is only in memory stays there: ext4 writes nothing by itself for five minutes, and Linux nothing for 30 s. */
const DISK = { sizeBytes: 512 * 1024 * 1024, mountOptions: 'commit=300' }

/** One of them is answered, and the power goes: nothing else has synced anything meanwhile. */
const LAST_REQUESTS: readonly (readonly [string, Prepare])[] = [
  ['a blob', singlePost],
  ['a manifest', manifest],
  ['an upload that was closed', closing],
  ['a deletion', deletion],
  ['a mount', mount],
]

/** Runs the server until the cut, and tells how to look at what is left of its disk. */
type Load = (t: TestContext, registry: TestRegistry) => Promise<(client: RegistryClient) => Promise<void>>

/** Pushes something, and cuts as soon as it is answered. */
const oneAnswer =
  (prepare: Prepare): Load =>
  async (_, registry) => {
    const client = new RegistryClient(registry.url)
    const models = await Models.push(client)
    for (let commit = 0; commit < WARM_UP_COMMITS; commit += 1) await client.startUpload('faults/warm-up')
    const attempt = await prepare(client, models)
    const answer = await client.request(attempt.method, attempt.target, attempt)
    process.kill(registry.pid(), 'SIGSTOP')
    assert.ok(answer.status < 300, describe(answer))
    if (attempt.step !== undefined) models.apply(attempt.step, attempt.name)
    return async (after) => models.verify(after)
  }

/** Cuts in the middle of several pushes. */
const manyRequests =
  (random: Random): Load =>
  async (t, registry) => {
    const pushers = Array.from(
      { length: PUSHERS },
      (_, number) => new Pusher(`faults/pusher-${number}`, new Random(`${random.below(2 ** 31)}/${number}`)),
    )
    const client = new RegistryClient(registry.url)
    const pushing = Promise.allSettled(pushers.map(async (pusher) => pusher.pushUntilCut(client)))
    await sleep(random.between(300, 2_500))
    process.kill(registry.pid(), 'SIGSTOP')
    return async (after) => {
      for (const outcome of await pushing) if (outcome.status === 'rejected') throw outcome.reason
      for (const pusher of pushers) await pusher.verify(after)
      t.diagnostic(`${pushers.reduce((sum, pusher) => sum + pusher.acknowledged, 0)} things were acknowledged`)
    }
  }

test('a power cut loses nothing that was acknowledged, and needs no repair', async (t) => {
  const random = new Random(String(faultSeed(t)))
  const cuts = byTier({ quick: 1, ci: 6, release: 60 })
  for (let cut = 0; cut < cuts; cut += 1) {
    const [name, prepare] = LAST_REQUESTS[(cut / 2) % LAST_REQUESTS.length] ?? ['several pushes', undefined]
    await t.test(`cut ${cut + 1}, after ${name}`, async (t) =>
      withSmallDisk(
        t,
        async (disk) => cutPower(t, disk, prepare === undefined ? manyRequests(random) : oneAnswer(prepare)),
        DISK,
      ),
    )
  }
})

async function cutPower(t: TestContext, disk: SmallDisk, load: Load): Promise<void> {
  // Tests of their own, so that the registries have ended when their disks are taken away.
  await t.test('the registry before', async (t) => {
    const registry = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: disk.folder } } } })
    const verify = await load(t, registry)
    await untilStopped(registry.pid())
    await disk.withCopy(t, async (folder) => {
      await registry.kill()
      await t.test('the registry after', async (t) => {
        const next = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: folder } } } })
        const client = new RegistryClient(next.url)
        await verify(client)
        await client.pushImage('faults/after', { reference: 'latest' })
        await next.stop()
        await expectSound(t, folder)
      })
    })
  })
}

/** Waits until no thread is inside the kernel any more: a sync under way would change the disk while it is copied. */
async function untilStopped(pid: number): Promise<void> {
  await until(
    async () => {
      const threads = await readdir(`/proc/${pid}/task`)
      const states = await Promise.all(
        threads.map(async (thread) => readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8')),
      )
      return states.every((state) => /\) T /.test(state))
    },
    PATIENCE_MS,
    () => 'the server does not stop',
  )
}
