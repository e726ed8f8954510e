import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { freePort, startRegistry, until } from '../harness.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { byTier } from './tier.ts'

const CLIENTS = 6
const RECOVERY_MS = 10_000

/** What a client counts of its pushes. */
interface Tally {
  readonly acknowledged: { readonly path: string; readonly digest: string }[]
  unavailable: number
}

/** Sends a request; without an acknowledgement it must be a 503 that says when to come back. */
async function send(tally: Tally, url: string, init: RequestInit): Promise<boolean> {
  const answer = await fetch(url, init)
  const text = await answer.text()
  if (answer.ok) return true
  assert.equal(answer.status, 503, `${init.method} ${url} gave ${answer.status} ${text}`)
  assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/)
  tally.unavailable++
  return false
}

function describe(bytes: Buffer, mediaType: string) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}

/** Pushes images one after the other, the same blob in all of them, until the test says so. */
async function push(origin: string, name: string, shared: Buffer, isOver: () => boolean): Promise<Tally> {
  const tally: Tally = { acknowledged: [], unavailable: 0 }
  for (let number = 0; !isOver(); number++) {
    const config = randomBlob(100)
    const blobs = [shared, config]
    let isWhole = true
    for (const bytes of blobs) {
      const url = `${origin}/v2/${name}/blobs/uploads/?digest=${digestOf(bytes)}`
      isWhole &&= await send(tally, url, { method: 'POST', body: bytes })
    }
    const document = imageDocument(describe(config, mediaTypes.config), [describe(shared, mediaTypes.layer)])
    const path = `/v2/${name}/manifests/t${number}`
    const headers = { 'content-type': mediaTypes.image }
    isWhole &&= await send(tally, `${origin}${path}`, { method: 'PUT', body: document, headers })
    if (isWhole) tally.acknowledged.push({ path, digest: digestOf(document) })
    else await sleep(50)
  }
  return tally
}

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
    push(
      registry.url,
      number % 2 === 0 ? `${repository}/${number}` : `${repository}/one${number}`,
      shared,
      () => isOver,
    ),
  )
  const stops = byTier({ quick: 1, ci: 4, release: 50 })
  for (let stop = 0; stop < stops; stop++) {
    await sleep(1_000)
    await cluster.stop(stop % 2 === 0 ? 'SIGQUIT' : 'SIGINT')
    const answer = await fetch(`http://127.0.0.1:${debugPort}/debug/health`)
    assert.equal(answer.status, 503)
    assert.match(await answer.text(), /"metadata":"PostgreSQL at 127\.0\.0\.1:\d+/)
    await sleep(500)
    await cluster.start()
    await until(
      async () => (await fetch(`${registry.url}/readyz`)).ok,
      RECOVERY_MS,
      () => `it is not ready again:\n${registry.output()}`,
    )
  }
  await sleep(1_000)
  isOver = true
  const tallies = await Promise.all(pushing)
  const acknowledged = tallies.flatMap((tally) => tally.acknowledged)
  assert.ok(acknowledged.length > CLIENTS)
  assert.ok(
    tallies.some((tally) => tally.unavailable > 0),
    'nobody noticed',
  )
  for (const { path, digest } of acknowledged) {
    const answer = await fetch(`${registry.url}${path}`, { method: 'HEAD' })
    assert.equal(answer.headers.get('docker-content-digest'), digest, path)
  }
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
