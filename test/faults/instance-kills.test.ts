import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { entrepot } from '../operations/command.ts'
import { isPostgresPresent } from '../postgres-cluster.ts'
import { assertContent } from '../registry-client.ts'
import { expectSound, runFsck } from './fsck.ts'
import { startInstances } from './instances.ts'
import { byTier } from './tier.ts'

/** What was acknowledged, by path. */
type Acknowledged = Map<string, { readonly bytes: Buffer; readonly digest: string }>

/**
 * Sends a request to whichever instance comes next.
 * @returns undefined when it was not acknowledged: the instance was killed, or it said that it cannot now.
 */
async function send(origin: string, path: string, init: RequestInit): Promise<Response | undefined> {
  let answer: Response
  let text: string
  try {
    answer = await fetch(origin + path, init)
    text = await answer.text()
  } catch {
    return undefined
  }
  if (answer.ok) return answer
  if (answer.status === 503 || answer.status === 429) {
    assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/, `${answer.status} ${text}`)
    return undefined
  }
  // What became of a request whose instance was killed is not known: the upload may have ended with it.
  const isAboutUpload = path.includes('/blobs/uploads/') && [400, 404, 416].includes(answer.status)
  assert.ok(isAboutUpload, `${init.method} ${path} gave ${answer.status} ${text}`)
  return undefined
}

/** Pushes images until the test says so: each request goes to another instance. */
async function pushEverywhere(origins: readonly string[], isOver: () => boolean): Promise<Acknowledged> {
  const acknowledged: Acknowledged = new Map()
  const name = uniqueName('faults')
  let requests = 0
  const next = async (path: string, init: RequestInit) => send(origins[requests++ % origins.length] ?? '', path, init)
  const pushBlob = async (bytes: Buffer) => {
    const started = await next(`/v2/${name}/blobs/uploads/`, { method: 'POST' })
    const upload = started?.headers.get('location')
    if (upload === undefined || upload === null) return false
    const path = new URL(upload, origins[0]).pathname
    const half = Math.floor(bytes.length / 2)
    if (!(await next(path, { method: 'PATCH', body: bytes.subarray(0, half) }))) return false
    const end = { method: 'PUT', body: bytes.subarray(half) }
    if (!(await next(`${path}?digest=${digestOf(bytes)}`, end))) return false
    acknowledged.set(`/v2/${name}/blobs/${digestOf(bytes)}`, { bytes, digest: digestOf(bytes) })
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
    if (await next(path, init)) acknowledged.set(path, { bytes: document, digest: digestOf(document) })
  }
  return acknowledged
}

test('instances that are killed under load lose nothing that was acknowledged, and the others go on', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const maintenance = { garbagecollection: { interval: '1s' } }
  const { registries, clients, configFile } = await startInstances(t, 3, { storage: { maintenance } })
  let isOver = false
  const origins = registries.map(({ url }) => url)
  const pushing = Array.from({ length: 4 }, async (_, number) =>
    pushEverywhere([...origins.slice(number % 3), ...origins.slice(0, number % 3)], () => isOver),
  )
  for (let kill = 0; kill < byTier({ quick: 2, ci: 15, release: 600 }); kill++) {
    await sleep(1_000)
    const victim = registries[kill % registries.length]
    await victim?.kill()
    await victim?.start()
  }
  isOver = true
  const acknowledged = (await Promise.all(pushing)).flatMap((pushed) => [...pushed])
  t.diagnostic(`${acknowledged.length} blobs and manifests were acknowledged`)
  assert.ok(acknowledged.length > 10)
  for (const [number, [path, content]] of acknowledged.entries()) {
    const client = clients[number % clients.length]
    assert.ok(client !== undefined)
    assertContent(await client.get(path), content)
  }
  await expectSound(t, { config: configFile }, { isOnline: true })
  await Promise.all(registries.map(async (registry) => registry.stop()))
  await expectSound(t, { config: configFile })
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
