import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { areProgramsPresent } from '../clients/programs.ts'
import { freePort } from '../harness.ts'
import { entrepot } from '../operations/command.ts'
import { isPostgresPresent } from '../postgres-cluster.ts'
import { assertContent, type RegistryClient } from '../registry-client.ts'
import { expectSound, runFsck } from './fsck.ts'
import { startInstances } from './instances.ts'
import { startLoadBalancer } from './load-balancer.ts'
import { byTier } from './tier.ts'

/** How long it may be at most that nothing is acknowledged. */
const RECOVERY_MS = 10_000

/** What was acknowledged, by path, and when. */
class Acknowledged {
  readonly contents = new Map<string, { readonly bytes: Buffer; readonly digest: string }>()
  unavailable = 0
  longestMs = 0
  #lastAt = performance.now()

  add(path: string, bytes: Buffer): void {
    this.contents.set(path, { bytes, digest: digestOf(bytes) })
    this.longestMs = Math.max(this.longestMs, performance.now() - this.#lastAt)
    this.#lastAt = performance.now()
  }
}

/**
 * Sends a request to the load balancer.
 * @returns undefined when it was not acknowledged, and that with a 503 that says when to come back.
 */
async function send(acknowledged: Acknowledged, url: string, init: RequestInit): Promise<Response | undefined> {
  const answer = await fetch(url, init)
  const text = await answer.text()
  if (answer.ok) return answer
  assert.equal(answer.status, 503, `${init.method} ${url} gave ${answer.status} ${text}`)
  assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/, text)
  acknowledged.unavailable++
  return undefined
}

/** Pushes images until the test says so, each blob in two parts. */
async function push(origin: string, acknowledged: Acknowledged, isOver: () => boolean): Promise<void> {
  const name = uniqueName('faults')
  const pushBlob = async (bytes: Buffer) => {
    const started = await send(acknowledged, `${origin}/v2/${name}/blobs/uploads/`, { method: 'POST' })
    const location = started?.headers.get('location')
    if (location === undefined || location === null) return false
    const upload = new URL(location, origin)
    const half = Math.floor(bytes.length / 2)
    if (!(await send(acknowledged, upload.href, { method: 'PATCH', body: bytes.subarray(0, half) }))) return false
    upload.searchParams.append('digest', digestOf(bytes))
    if (!(await send(acknowledged, upload.href, { method: 'PUT', body: bytes.subarray(half) }))) return false
    acknowledged.add(`/v2/${name}/blobs/${digestOf(bytes)}`, bytes)
    return true
  }
  for (let number = 0; !isOver(); number++) {
    const [config, layer] = [randomBlob(300), randomBlob(50_000)]
    if (!(await pushBlob(config)) || !(await pushBlob(layer))) {
      await sleep(20)
      continue
    }
    const document = imageDocument({ mediaType: mediaTypes.config, digest: digestOf(config), size: config.length }, [
      { mediaType: mediaTypes.layer, digest: digestOf(layer), size: layer.length },
    ])
    const path = `/v2/${name}/manifests/t${number}`
    const init = { method: 'PUT', body: document, headers: { 'content-type': mediaTypes.image } }
    if (await send(acknowledged, origin + path, init)) acknowledged.add(path, document)
  }
}

/** Pulls something that was acknowledged, again and again: it is right, comes to no end, or there is a 503. */
async function pull(origin: string, acknowledged: Acknowledged, isOver: () => boolean): Promise<number> {
  let pulled = 0
  while (!isOver()) {
    const known = [...acknowledged.contents]
    const [path, content] = known[randomInt(known.length + 1)] ?? []
    if (path === undefined || content === undefined) {
      await sleep(20)
      continue
    }
    const answer = await fetch(origin + path)
    const body = await answer.arrayBuffer().catch(() => undefined)
    if (answer.status === 503) assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/)
    else assert.equal(answer.status, 200, path)
    if (body === undefined || answer.status === 503) continue
    assert.ok(content.bytes.equals(Buffer.from(body)), `${path} gives other bytes`)
    pulled++
  }
  return pulled
}

/** Asserts that all that was acknowledged is pulled, from each of the instances in turn. */
async function assertKept(clients: readonly RegistryClient[], contents: Acknowledged['contents']): Promise<void> {
  for (const [number, [path, content]] of [...contents].entries()) {
    const client = clients[number % clients.length]
    assert.ok(client !== undefined)
    assertContent(await client.get(path), content)
  }
}

test('of instances behind nginx one is killed every second under load: nothing that was acknowledged is lost, and the others go on', async (t) => {
  if (!(await isPostgresPresent(t)) || !areProgramsPresent(t, ['nginx'])) return
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const { registries, clients, configFile } = await startInstances(t, 3, {
    storage: { maintenance: { garbagecollection: { interval: '1s' } } },
    http: { host: origin },
  })
  await startLoadBalancer(
    t,
    port,
    registries.map(({ host }) => host),
  )
  const acknowledged = new Acknowledged()
  let isOver = false
  const pushing = Array.from({ length: 4 }, async () => push(origin, acknowledged, () => isOver))
  const pulling = Array.from({ length: 2 }, async () => pull(origin, acknowledged, () => isOver))
  const restarts: Promise<void>[] = []
  for (let kill = 0; kill < byTier({ quick: 3, ci: 20, release: 600 }); kill++) {
    await sleep(1_000)
    await restarts[kill - registries.length]
    const victim = registries[kill % registries.length]
    await victim?.kill()
    if (victim !== undefined) restarts.push(victim.start())
  }
  await Promise.all(restarts)
  await sleep(1_000)
  isOver = true
  await Promise.all(pushing)
  const pulled = (await Promise.all(pulling)).reduce((sum, count) => sum + count, 0)
  const { contents, unavailable, longestMs } = acknowledged
  t.diagnostic(
    `${contents.size} blobs and manifests were acknowledged, ${unavailable} requests answered with 503, ${pulled} pulls right; ` +
      `the longest time without an acknowledgement was ${Math.round(longestMs)} ms`,
  )
  assert.ok(contents.size > 10 && pulled > 10)
  assert.ok(longestMs < RECOVERY_MS, `nothing was acknowledged for ${longestMs} ms`)
  await assertKept(clients, contents)
  await expectSound(t, { config: configFile }, { isOnline: true })
  await Promise.all(registries.map(async (registry) => registry.stop()))
  await expectSound(t, { config: configFile })
})

test('instances behind nginx that are ended and started one after the other refuse only what was on its way to them', async (t) => {
  if (!(await isPostgresPresent(t)) || !areProgramsPresent(t, ['nginx'])) return
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const { registries, clients } = await startInstances(t, 3, { http: { host: origin } })
  await startLoadBalancer(
    t,
    port,
    registries.map(({ host }) => host),
  )
  const acknowledged = new Acknowledged()
  let isOver = false
  const pushing = Array.from({ length: 4 }, async () => push(origin, acknowledged, () => isOver))
  const rounds = byTier({ quick: 1, ci: 5, release: 100 })
  for (let round = 0; round < rounds; round++) {
    for (const registry of registries) {
      assert.equal(await registry.stop(), 0, registry.output())
      await registry.start()
    }
  }
  isOver = true
  await Promise.all(pushing)
  const { contents, unavailable } = acknowledged
  t.diagnostic(`${contents.size} blobs and manifests were acknowledged, ${unavailable} requests answered with 503`)
  // Each client has one request under way.
  assert.ok(unavailable <= rounds * registries.length * pushing.length)
  await assertKept(clients, contents)
})

test('fsck that needs the database for itself is refused while an instance works, and runs beside it with --online', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { registries, clients, configFile } = await startInstances(t, 2)
  const [one] = clients
  assert.ok(one !== undefined)
  await one.pushImage(uniqueName('faults'), { reference: 'v1' })
  const refused = await entrepot(['fsck', configFile])
  assert.notEqual(refused.code, 0)
  assert.match(refused.stderr, /--online/)
  const { checked } = await runFsck(t, { config: configFile }, { isOnline: true })
  assert.deepEqual([checked['manifests'], checked['tags'], checked['blobs']], [1, 1, 3])
  await Promise.all(registries.map(async (registry) => registry.kill()))
  // Who was killed counts as there for some seconds, which are waited for.
  await expectSound(t, { config: configFile })
})
