import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test, type TestContext } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { isMinioPresent, type MinioServer, startMinio } from '../minio-server.ts'
import { Random } from '../random.ts'
import { faultSeed } from './fault-seed.ts'
import { type S3Fault, type S3Operation, type S3Proxy, startS3Proxy } from '../s3-proxy.ts'
import { byTier } from './tier.ts'

const MIB = 1024 * 1024
/** A request that the store lets down is answered after so long at most: 30 seconds, and what is left to do. */
const ANSWER_MS = 45_000

let shared: Promise<MinioServer> | undefined
after(async () => (await shared)?.remove())

/** A registry whose store is behind a proxy. */
async function startBehindProxy(t: TestContext): Promise<{ registry: TestRegistry; proxy: S3Proxy }> {
  const { storage, port } = await (shared ??= startMinio())
  const proxy = await startS3Proxy(t, port)
  const s3 = { ...storage, regionendpoint: proxy.url, rootdirectory: randomUUID(), chunksize: 5 * MIB }
  const health = { storagedriver: { enabled: false } }
  return {
    registry: await startRegistry(t, { config: { storage: { s3, redirect: { disable: true } }, health } }),
    proxy,
  }
}

/** A plan that lets requests for bytes of an operation fail, each of the first ones. */
function first(count: number, operation: S3Operation, fault: S3Fault): S3Proxy['plan'] {
  let left = count
  return (request) => {
    if (request.operation !== operation || !request.url.includes('/objects/') || left === 0) return undefined
    left--
    return fault
  }
}

async function send(method: string, url: string, body?: Buffer): Promise<{ status: number; body: Buffer }> {
  const signal = AbortSignal.timeout(ANSWER_MS)
  const answer = await fetch(url, { method, signal, ...(body !== undefined && { body: new Uint8Array(body) }) })
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) }
}

const blobUrl = (registry: TestRegistry, name: string, digest: string) => `${registry.url}/v2/${name}/blobs/${digest}`

async function push(registry: TestRegistry, name: string, content: Buffer): Promise<number> {
  const url = `${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf(content)}`
  return (await send('POST', url, content)).status
}

test('a store that fails', { concurrency: 3 }, async (t) => {
  if (!isMinioPresent(t)) return

  void t.test('a fault of the store that passes is not seen by clients', async (t) => {
    const { registry, proxy } = await startBehindProxy(t)
    const name = uniqueName()
    const cases: [S3Operation, S3Fault, number][] = [
      ['put', 'error', 1000],
      ['put', 'slow-down', 1000],
      ['put', 'unanswered', 1000],
      ['put-part', 'error', 6 * MIB],
      ['put-part', 'unheard', 6 * MIB],
      ['begin-parts', 'slow-down', 6 * MIB],
      ['complete-parts', 'error-in-200', 6 * MIB],
      ['complete-parts', 'unanswered', 6 * MIB],
      ['head', 'error', 1000],
      ['head', 'unheard', 1000],
    ]
    for (const [operation, fault, size] of cases) {
      const content = randomBlob(size)
      proxy.plan = first(1, operation, fault)
      assert.equal(await push(registry, name, content), 201, `${operation} ${fault}`)
      proxy.plan = first(1, 'get', size < MIB ? fault : 'cut')
      const pulled = await send('GET', blobUrl(registry, name, digestOf(content)))
      assert.ok(pulled.body.equals(content), `${operation} ${fault}`)
    }
  })

  void t.test('a part that the store lost, and an object that it never completed, make no blob', async (t) => {
    const { registry, proxy } = await startBehindProxy(t)
    const name = uniqueName()
    for (const [operation, fault] of [
      ['put-part', 'lost-part'],
      ['complete-parts', 'error-in-200'],
      ['head', 'error'],
    ] as const) {
      const content = randomBlob(6 * MIB)
      proxy.plan = first(100, operation, fault)
      assert.equal(await push(registry, name, content), 503, fault)
      proxy.plan = () => undefined
      assert.equal((await send('HEAD', blobUrl(registry, name, digestOf(content)))).status, 404)
      assert.equal(await push(registry, name, content), 201)
      assert.ok((await send('GET', blobUrl(registry, name, digestOf(content)))).body.equals(content))
    }
  })

  void t.test('a download that the store cuts off again and again never looks complete', async (t) => {
    const { registry, proxy } = await startBehindProxy(t)
    const [name, content] = [uniqueName(), randomBlob(6 * MIB)]
    assert.equal(await push(registry, name, content), 201)
    proxy.plan = (request) => (request.operation === 'get' ? 'unheard' : undefined)
    await assert.rejects(send('GET', blobUrl(registry, name, digestOf(content))), TypeError)
    proxy.plan = () => undefined
    assert.ok((await send('GET', blobUrl(registry, name, digestOf(content)))).body.equals(content))
  })

  void t.test('a store that does not answer is asked once more, and lets nobody wait for long', async (t) => {
    const { registry, proxy } = await startBehindProxy(t)
    const [name, content] = [uniqueName(), randomBlob(1000)]
    // More than one takes longer than a quick run may.
    const stalls = byTier({ quick: 1, ci: 100, release: 100 })
    proxy.plan = first(stalls, 'put', 'stall')
    assert.equal(await push(registry, name, content), stalls === 1 ? 201 : 503)
    proxy.plan = () => undefined
    assert.equal(await push(registry, name, content), 201)
  })

  void t.test('a store that asks to slow down is asked three times at most', async (t) => {
    const { registry, proxy } = await startBehindProxy(t)
    proxy.plan = (request) =>
      request.operation === 'put' && request.url.includes('/objects/') ? 'slow-down' : undefined
    assert.equal(await push(registry, uniqueName(), randomBlob(1000)), 503)
    const times = proxy.requests.filter(({ operation, url }) => operation === 'put' && url.includes('/objects/'))
    assert.equal(times.length, 3)
  })

  void t.test(
    'of what is acknowledged while the store fails at random nothing is lost, and no wrong byte is served',
    async (t) => {
      const random = new Random(`s3 ${faultSeed(t)}`)
      const { registry, proxy } = await startBehindProxy(t)
      const name = uniqueName()
      const faults: S3Fault[] = ['error', 'slow-down', 'unheard', 'unanswered', 'cut', 'error-in-200']
      proxy.plan = ({ operation }) => {
        if (!random.chance(8)) return undefined
        const fault = random.pick(faults)
        // Of other operations nobody takes an error for an answer, as it has no such form.
        return fault === 'error-in-200' && operation !== 'complete-parts' ? 'error' : fault
      }
      const acknowledged = new Map<string, Buffer>()
      const rounds = byTier({ quick: 6, ci: 40, release: 500 })
      for (let round = 0; round < rounds; round++) {
        const contents = Array.from({ length: 4 }, () => randomBlob(random.size(10, 7 * MIB)))
        await Promise.all(
          contents.map(async (content) => {
            const status = await push(registry, name, content).catch(() => 0)
            if (status === 201) acknowledged.set(digestOf(content), content)
            else assert.ok([0, 503].includes(status), `a push was answered with ${status}\n${registry.output()}`)
            const [digest, known] = random.pick([...acknowledged, [digestOf(content), content] as const])
            const pulled = await send('GET', blobUrl(registry, name, digest)).catch(() => undefined)
            if (pulled?.status === 200) assert.ok(pulled.body.equals(known), 'wrong bytes')
          }),
        )
      }
      proxy.plan = () => undefined
      assert.ok(acknowledged.size >= rounds, `${acknowledged.size} of ${rounds * 4} pushes succeeded`)
      for (const [digest, content] of acknowledged) {
        const pulled = await send('GET', blobUrl(registry, name, digest))
        assert.ok(pulled.body.equals(content), `${digest} was acknowledged, and is answered with ${pulled.status}`)
      }
    },
  )
})
