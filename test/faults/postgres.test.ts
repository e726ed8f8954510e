import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { freePort, startRegistry } from '../harness.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { stopAgainAndAgain } from './database-stops.ts'
import { assertPulled, pushUntil } from './pushes.ts'
import { byTier } from './tier.ts'

const CLIENTS = 6

test('PostgreSQL that stops and comes back loses no acknowledged push, and is only answered with 503', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const cluster = await startPostgres()
  t.after(async () => cluster.remove())
  const debugPort = await freePort()
  const registry = await startRegistry(t, {
    config: { database: { url: cluster.url('postgres') }, http: { debug: { addr: `127.0.0.1:${debugPort}` } } },
  })
  const shared = randomBlob(10_000)
  const repository = uniqueName('faults')
  let isOver = false
  // Half of them push to one repository: the same content at the same time.
  const pushing = Array.from({ length: CLIENTS }, async (_, number) =>
    pushUntil({
      origin: registry.url,
      repository: number % 2 === 0 ? repository : `${repository}/one${number}`,
      tag: `c${number}-`,
      layer: shared,
      isOver: () => isOver,
    }),
  )
  await stopAgainAndAgain(cluster, [registry], async () => {
    const answer = await fetch(`http://127.0.0.1:${debugPort}/debug/health`)
    assert.equal(answer.status, 503)
    assert.match(await answer.text(), /"metadata":"PostgreSQL at 127\.0\.0\.1:\d+/)
  })
  isOver = true
  const pushed = await Promise.all(pushing)
  assert.ok(
    pushed.some(({ unavailable }) => unavailable > 0),
    'nobody noticed',
  )
  await assertPulled([registry.url], pushed)
})

test('many clients push the same content into one repository at the same time, and all of them succeed', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const cluster = await startPostgres()
  t.after(async () => cluster.remove())
  const registry = await startRegistry(t, { config: { database: { url: cluster.url('postgres') } } })
  const name = uniqueName('faults')
  const blobs = Array.from({ length: byTier({ quick: 10, ci: 50, release: 500 }) }, () => randomBlob(100))
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      for (const bytes of blobs) {
        const url = `${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf(bytes)}`
        const answer = await fetch(url, { method: 'POST', body: bytes })
        assert.equal(answer.status, 201, await answer.text())
      }
    }),
  )
})
