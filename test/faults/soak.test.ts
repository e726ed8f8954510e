import assert from 'node:assert/strict'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { residentMebibytesOf } from '../../bench/servers/process-tree.ts'
import { type TestRegistry, startRegistry, until } from '../harness.ts'
import { Random } from '../random.ts'
import { RegistryClient } from '../registry-client.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { SoakClient } from './soak-client.ts'
import { byTier } from './tier.ts'

/** The server's lives, each of which but the last ends with SIGKILL. */
const LIVES = byTier({ quick: 3, ci: 6, release: 18 })
const LIFE_MS = Number(process.env['ENTREPOT_FAULT_LIFE_MS'] ?? byTier({ quick: 2_000, ci: 12_000, release: 300_000 }))
const CLIENTS = 8
const AGE_MS = 5_000
const SETTLE_MS = 60_000
const MAX_GROWTH_MIB = 96
/** What one step of the collector removes, and what the clients push at the moment. */
const MOST_LEFT_BY_A_CRASH = 30
/** Of the database and of threads, which open some of their own when they are first needed; a leak is one a request. */
const MAX_MORE_DESCRIPTORS = 24

const MAINTENANCE = {
  trash: { age: '0s' },
  garbagecollection: { age: `${AGE_MS}ms`, interval: '100ms' },
  uploadpurging: { age: `${AGE_MS}ms`, interval: '1s' },
}

test('for hours of work and crashes memory and descriptors stay flat, and in the end the disk has what is reachable', async (t) => {
  const seed = faultSeed(t)
  const registry = await startRegistry(t, { config: { log: { level: 'warn' }, storage: { maintenance: MAINTENANCE } } })
  const clients = Array.from(
    { length: CLIENTS },
    (_, number) => new SoakClient(`soak/${number}`, new Random(`${seed}/${number}`)),
  )
  const idleDescriptors = await descriptorsOf(registry)
  for (let life = 1; life <= LIVES; life += 1) {
    const client = new RegistryClient(registry.url)
    await Promise.all(clients.map(async (one) => one.verify(client)))
    const isLast = life === LIVES
    const growth = await liveOnce(registry, clients, isLast)
    t.diagnostic(`life ${life}: ${growth.from} MiB after a third, ${growth.to} MiB in the end`)
    assert.ok(growth.to - growth.from < MAX_GROWTH_MIB, `memory grew from ${growth.from} to ${growth.to} MiB`)
    if (!isLast) await registry.start()
  }
  const client = new RegistryClient(registry.url)
  for (const one of clients) await one.finish(client)
  await assertOnlyReachable(t, registry, clients)
  for (const one of clients) await one.verify(client)
  const pushed = clients.reduce((sum, one) => sum + one.pushed, 0)
  t.diagnostic(`${pushed} images were pushed`)
  assert.ok(pushed > LIVES * CLIENTS, `only ${pushed} images were pushed`)
  let open = 0
  await until(
    async () => (open = await descriptorsOf(registry)) <= idleDescriptors + MAX_MORE_DESCRIPTORS,
    SETTLE_MS,
    () => `${open} descriptors are open, ${idleDescriptors} were in the beginning`,
  )
  t.diagnostic(`${open} descriptors are open, ${idleDescriptors} were in the beginning`)
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

/** Lets all clients work for a while, ends the server in the middle of it but for the last time, and measures it. */
async function liveOnce(registry: TestRegistry, clients: readonly SoakClient[], isLast: boolean) {
  const client = new RegistryClient(registry.url)
  let isOver = false
  const working = Promise.allSettled(clients.map(async (one) => one.work(client, () => isOver)))
  await sleep(LIFE_MS / 3)
  const from = Math.round(residentMebibytesOf(registry.pid()))
  await sleep((LIFE_MS * 2) / 3)
  const to = Math.round(residentMebibytesOf(registry.pid()))
  if (!isLast) await registry.kill()
  isOver = true
  for (const outcome of await working) if (outcome.status === 'rejected') throw outcome.reason
  return { from, to }
}

/**
 * Once all ages have passed no upload is left, and nothing is stored but what is reachable and, for each crash, a few files
 * of which no row tells: their rows were removed, or not yet written, when the server was killed.
 */
async function assertOnlyReachable(t: TestContext, registry: TestRegistry, clients: readonly SoakClient[]) {
  const expected = new Set(clients.flatMap((one) => one.reachable))
  const database = new DatabaseSync(join(registry.dataDirectory, 'entrepot.db'), { readOnly: true })
  const blobs = database.prepare('SELECT digest FROM blobs')
  let state = ''
  await until(
    async () => {
      const files = await readdir(join(registry.dataDirectory, 'blobs'), { recursive: true, withFileTypes: true })
      const stored = new Set(files.filter((file) => file.isFile()).map(({ name }) => `sha256:${name}`))
      const uploads = await readdir(join(registry.dataDirectory, 'uploads'))
      const wrongRows = expected.symmetricDifference(new Set(blobs.all().map((row) => String(row['digest']))))
      const missing = expected.difference(stored)
      const left = stored.difference(expected)
      state = `${wrongRows.size} rows too many or too few, ${missing.size} files too few, ${uploads.length} uploads, ${left.size} files left by crashes`
      return wrongRows.size + missing.size + uploads.length === 0 && left.size <= MOST_LEFT_BY_A_CRASH * (LIVES - 1)
    },
    SETTLE_MS,
    () => state,
  )
  database.close()
  t.diagnostic(state)
}

/** How many descriptors are open, but for connections, which clients keep for a while. */
async function descriptorsOf(registry: TestRegistry): Promise<number> {
  const folder = `/proc/${registry.pid()}/fd`
  const targets = await Promise.all(
    (await readdir(folder)).map(async (number) => readlink(join(folder, number)).catch(() => 'closed')),
  )
  return targets.filter((target) => target !== 'closed' && !target.startsWith('socket:')).length
}
