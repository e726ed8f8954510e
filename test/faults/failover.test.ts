import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { randomBlob, uniqueName } from '../content.ts'
import { until } from '../harness.ts'
import { entrepot } from '../operations/command.ts'
import { isPostgresPresent, type PostgresCluster, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { type Instances, startInstancesOn } from './instances.ts'
import { assertPulled, pushUntil } from './pushes.ts'

const CLIENTS = 4
/** From the promotion until pushes are acknowledged again, at all instances. */
const RECOVERY_MS = 10_000

interface Stand extends Instances {
  readonly first: PostgresCluster
  readonly second: PostgresCluster
}

/** Two instances on a primary that waits for its replica with each commit. */
async function startStand(t: TestContext): Promise<Stand> {
  const first = await startPostgres()
  t.after(async () => first.remove())
  const second = await first.startReplica()
  t.after(async () => second.remove())
  const url = `postgres://postgres@127.0.0.1:${first.port},127.0.0.1:${second.port}/postgres`
  return { first, second, ...(await startInstancesOn(t, url, 2)) }
}

/**
 * Lets clients push while the primary is taken away and its replica promoted, and asserts that all works again in time.
 * @returns what asserts that nothing is lost.
 */
async function failOver(t: TestContext, stand: Stand, takeAway: () => Promise<void>): Promise<() => Promise<void>> {
  const origins = stand.registries.map(({ url }) => url)
  const repository = uniqueName('faults')
  const layer = randomBlob(10_000)
  let isOver = false
  let promotedAt = Infinity
  const recovered = new Map<string, number>()
  const pushing = Array.from({ length: CLIENTS }, async (_, number) => {
    const origin = origins[number % origins.length] ?? ''
    const onAcknowledged = () => {
      if (!recovered.has(origin) && performance.now() > promotedAt)
        recovered.set(origin, performance.now() - promotedAt)
    }
    return pushUntil({ origin, repository, tag: `c${number}-`, layer, isOver: () => isOver, onAcknowledged })
  })
  await sleep(1_000)
  await takeAway()
  await sleep(1_000)
  await stand.second.promote()
  promotedAt = performance.now()
  await until(
    () => recovered.size === origins.length,
    RECOVERY_MS,
    () => stand.registries.map((registry) => registry.output()).join('\n'),
  )
  t.diagnostic(
    `pushes were acknowledged ${[...recovered.values()].map(Math.round).join(' and ')} ms after the promotion`,
  )
  await sleep(1_000)
  isOver = true
  const pushed = await Promise.all(pushing)
  assert.ok(
    pushed.some(({ unavailable }) => unavailable > 0),
    'nobody noticed',
  )
  return async () => assertPulled(origins, pushed)
}

test('a primary that is killed in the middle of pushes, and whose replica is promoted, loses nothing that was acknowledged', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const stand = await startStand(t)
  const assertKept = await failOver(t, stand, async () => stand.first.stop('SIGKILL'))
  await assertKept()
  // It comes back as it was: as a primary, with what it has, which would be written to by who finds it first.
  await stand.first.start()
  const [one] = stand.registries
  await one?.stop()
  await one?.start()
  await assertKept()
  const { descriptor } = await new RegistryClient(one?.url ?? '').pushImage(uniqueName('faults'))
  const kept = await stand.second.run(`select count(*) from manifests where digest = '${descriptor.digest}'`)
  assert.equal(kept, '1', 'what was pushed is at the server that was the primary before')
  await Promise.all(stand.registries.map(async (registry) => registry.stop()))
  await expectSound(t, { config: stand.configFile })
})

test('a primary that falls silent keeps nobody waiting once its replica is promoted, and is not used when it is back', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const stand = await startStand(t)
  const assertKept = await failOver(t, stand, async () => stand.first.freeze())
  await stand.first.thaw()
  await assertKept()
  const pushed = await Promise.all(stand.clients.map(async (client) => client.pushImage(uniqueName('faults'))))
  for (const { descriptor } of pushed) {
    const kept = await stand.second.run(`select count(*) from manifests where digest = '${descriptor.digest}'`)
    assert.equal(kept, '1', 'what was pushed is at the server that was the primary before')
  }
})

test('what only the primary has, since its replica is gone, is not acknowledged, even if somebody ends the waiting for that', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { first, second, registries } = await startStand(t)
  await second.stop('SIGKILL')
  let answer: Response | undefined
  const asked = fetch(`${registries[0]?.url}/v2/${uniqueName('faults')}/blobs/uploads/`, { method: 'POST' })
  void asked.then((given) => (answer = given))
  await until(
    async () => {
      await first.run("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
      return answer !== undefined
    },
    RECOVERY_MS,
    () => 'it is not answered',
  )
  assert.ok(answer !== undefined)
  assert.equal(answer.status, 503, await answer.text())
  assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/)
})

test('a start finds the primary behind a replica that is named first, and refuses one alone', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const stand = await startStand(t)
  const url = `postgres://postgres@127.0.0.1:${stand.second.port},127.0.0.1:${stand.first.port}/postgres`
  const { clients, registries, configFile } = await startInstancesOn(t, url, 1)
  await clients[0]?.pushImage(uniqueName('faults'))
  await registries[0]?.stop()
  await stand.first.stop('SIGQUIT')
  const { code, stderr } = await entrepot(['trash', 'list', configFile])
  assert.equal(code, 1)
  assert.match(stderr, /is a replica|cannot be reached/)
})
