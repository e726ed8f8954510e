import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { residentMebibytesOf } from '../../bench/servers/process-tree.ts'
import { uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { Random } from '../random.ts'
import { RegistryClient } from '../registry-client.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { LoadClient } from './load-client.ts'
import { startProbe } from './probe.ts'
import { byTier } from './tier.ts'

const ACTIVE_CLIENTS = byTier({ quick: 200, ci: 200, release: 1_000 })
const LOAD_MS = byTier({ quick: 5_000, ci: 60_000, release: 600_000 })
const IDLE_CONNECTIONS = 2_000
const AT_ONCE = 1_000
const PULLED_BYTES = 300_000
const PUSHED_BYTES = 20_000
const MAX_ERRORS = 0.001
const MAX_RESIDENT_MIB = 1_024
/** The quick tier runs beside other tests. */
const MAX_HEALTH_MS = byTier({ quick: 2_000, ci: 500, release: 500 })

test(`${ACTIVE_CLIENTS} clients pull and push beside ${IDLE_CONNECTIONS} idle connections: next to no errors, memory stays, health answers`, async (t) => {
  const random = new Random(String(faultSeed(t)))
  const registry = await startRegistry(t, { config: { log: { level: 'warn' } } })
  const idle = await openIdle(t, registry.url)
  const client = new LoadClient(registry.url, ACTIVE_CLIENTS)
  t.after(() => client.close())
  const name = uniqueName('load')
  const pulled = await client.push(name, 'latest', PULLED_BYTES)
  assert.ok(pulled !== undefined)
  const probe = await startProbe(t, `${registry.url}/healthz`)
  const end = Date.now() + LOAD_MS
  const working = Promise.all(
    Array.from({ length: ACTIVE_CLIENTS }, async (_, number) => {
      while (Date.now() < end) {
        if (random.chance(20)) await client.push(`${name}/${number % 20}`, `v${number}`, PUSHED_BYTES)
        await client.send('GET', pulled.manifest)
        await client.send('GET', pulled.layer)
      }
    }),
  )
  let residentMib = 0
  while (Date.now() < end) {
    residentMib = Math.max(residentMib, residentMebibytesOf(registry.pid()))
    await sleep(Math.min(500, LOAD_MS / 10))
  }
  await working
  const health = await probe()
  const { requests, errors } = client.counts
  t.diagnostic(
    `${requests} requests, ${errors} errors (by status: ${JSON.stringify([...client.statuses])}), at most ${Math.round(residentMib)} MiB, health p99 ${health.p99Ms} ms of ${health.count}, of a bare server ${health.controlP99Ms} ms`,
  )
  assert.ok(requests > ACTIVE_CLIENTS * 5, `only ${requests} requests`)
  assert.ok(errors <= requests * MAX_ERRORS, `${errors} of ${requests} requests ended in an error`)
  assert.ok(residentMib <= MAX_RESIDENT_MIB, `it needs ${residentMib} MiB`)
  assert.ok(health.p99Ms < MAX_HEALTH_MS, `health took ${health.p99Ms} ms`)
  // Within the time that an idle connection stays open.
  if (LOAD_MS < 70_000) for (const socket of idle) await askOn(socket)
  await registry.stop()
  await expectSound(t, registry.dataDirectory, { options: [] })
})

test(`${AT_ONCE} clients that connect and ask for one tag at once all get it`, async (t) => {
  const registry = await startRegistry(t, { config: { log: { level: 'warn' } } })
  const client = new LoadClient(registry.url, AT_ONCE)
  t.after(() => client.close())
  const pulled = await client.push(uniqueName('load'), 'latest', PUSHED_BYTES)
  assert.ok(pulled !== undefined)
  const statuses = await Promise.all(Array.from({ length: AT_ONCE }, async () => client.send('GET', pulled.manifest)))
  const served = statuses.filter((status) => status === 200).length
  assert.ok(served >= AT_ONCE * (1 - MAX_ERRORS), `${served} of ${AT_ONCE} got it`)
  const answer = await new RegistryClient(registry.url).get('/healthz')
  assert.equal(answer.status, 200)
})

/** Connections that have asked for something once, and stay. */
async function openIdle(t: TestContext, origin: string): Promise<Socket[]> {
  const sockets: Socket[] = []
  t.after(() => sockets.map((socket) => socket.destroy()))
  const { port, hostname } = new URL(origin)
  for (let opened = 0; opened < IDLE_CONNECTIONS; opened += 100) {
    const group = Array.from({ length: 100 }, () => connect(Number(port), hostname))
    sockets.push(...group)
    await Promise.all(group.map(askOn))
  }
  return sockets
}

/** Asks for something on a connection, which stays open. */
async function askOn(socket: Socket): Promise<void> {
  assert.ok(!socket.destroyed && !socket.readableEnded, 'the connection was closed')
  socket.write('GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n')
  const [answer] = await once(socket, 'data')
  assert.match(String(answer), /^HTTP\/1\.1 200 /)
}
