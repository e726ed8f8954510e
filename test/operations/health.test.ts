import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rename, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { freePort, startRegistry, type TestRegistry, until } from '../harness.ts'
import { record } from '../registry-client.ts'
import { temporaryFolder } from './command.ts'
import { logLines } from './log-lines.ts'

const INTERVAL = '50ms'
const PATIENCE_MS = 10_000

/** A registry with a listener for operators, which alone says what is wrong. */
interface WatchedRegistry extends TestRegistry {
  readonly debugUrl: string
}

async function startWatched(t: TestContext, config: Record<string, unknown>): Promise<WatchedRegistry> {
  const addr = `127.0.0.1:${await freePort()}`
  const registry = await startRegistry(t, { config: { http: { debug: { addr } }, ...config } })
  return { ...registry, debugUrl: `http://${addr}` }
}

async function readiness(origin: string, path = '/readyz') {
  const answer = await fetch(origin + path)
  return { code: answer.status, body: record(await answer.json()), caching: answer.headers.get('cache-control') }
}

async function problemsOf({ debugUrl }: WatchedRegistry): Promise<Record<string, unknown>> {
  return record((await readiness(debugUrl)).body['problems'])
}

/** Waits for exactly these checks to have failed, and asserts everything that says so, and that clients learn no more. */
async function untilProblems(registry: WatchedRegistry, names: readonly string[]): Promise<Record<string, unknown>> {
  const isReached = async () =>
    Object.keys(await problemsOf(registry))
      .toSorted()
      .join() === names.join()
  await until(isReached, PATIENCE_MS, () => `the problems did not become [${names.join()}]:\n${registry.output()}`)
  const problems = await problemsOf(registry)
  const [code, status] = names.length === 0 ? [200, 'ok'] : [503, 'unavailable']
  for (const path of ['/readyz', '/debug/health']) {
    const caching = 'no-store'
    assert.deepEqual(await readiness(registry.url, path), { code, body: { status }, caching })
    assert.deepEqual(await readiness(registry.debugUrl, path), { code, body: { status, problems }, caching })
  }
  const alive = await fetch(`${registry.url}/healthz`)
  assert.deepEqual([alive.status, await alive.json()], [200, { status: 'ok' }], 'the process itself is well')
  return problems
}

async function listenOn(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
}

async function close(server: Server): Promise<void> {
  server.close()
  await once(server, 'close')
}

/** A server whose answers and the requests to it the test sees. */
async function startUpstream(t: TestContext) {
  const upstream = { status: 204, requests: [] as string[], uri: '' }
  const port = await freePort()
  const server = createHttpServer((request, response) => {
    upstream.requests.push(`${request.method} ${String(request.headers['x-key'])}`)
    response.writeHead(upstream.status, { Connection: 'close' }).end()
  })
  await listenOn(server, port)
  t.after(() => server.close())
  return Object.assign(upstream, { uri: `http://127.0.0.1:${port}/state` })
}

test('health', { concurrency: 3 }, async (t) => {
  void t.test('health.storagedriver: not ready while the storage cannot be written, then ready again', async (t) => {
    const registry = await startWatched(t, {
      log: { formatter: 'json' },
      health: { storagedriver: { interval: INTERVAL, threshold: 2 } },
    })
    await untilProblems(registry, [])
    const uploads = join(registry.dataDirectory, 'uploads')
    await rename(uploads, `${uploads}-away`)
    await writeFile(uploads, 'in the way')
    const { storage } = await untilProblems(registry, ['storage'])
    assert.match(String(storage), /ENOTDIR/)
    assert.equal((await fetch(`${registry.url}/v2/`)).status, 200, 'what needs no storage is served')
    await rm(uploads)
    await rename(`${uploads}-away`, uploads)
    await untilProblems(registry, [])

    const changes = logLines(registry.output()).filter((line) => line['check'] === 'storage')
    assert.deepEqual(
      changes.map((line) => `${String(line['level'])} ${String(line['msg'])}`),
      ['warn a health check fails', 'info a health check is well again'],
    )
  })

  void t.test('health.storagedriver.enabled: false looks at nothing', async (t) => {
    const file = join(await temporaryFolder(t), 'seen')
    const storagedriver = { enabled: false, interval: INTERVAL, threshold: 1 }
    const registry = await startWatched(t, {
      health: { storagedriver, file: [{ file, interval: INTERVAL, threshold: 3 }] },
    })
    const uploads = join(registry.dataDirectory, 'uploads')
    await rename(uploads, `${uploads}-away`)
    await writeFile(file, '')
    // Once this check has run three times, the other one would have, too.
    await untilProblems(registry, [`file ${file}`])
  })

  void t.test('health.file: an operator takes the server out of service with a file, and puts it back', async (t) => {
    const file = join(await temporaryFolder(t), 'out-of-service')
    const registry = await startWatched(t, { health: { file: [{ file, interval: INTERVAL }] } })
    await untilProblems(registry, [])
    await writeFile(file, '')
    const problems = await untilProblems(registry, [`file ${file}`])
    assert.equal(problems[`file ${file}`], 'the file exists')
    await rm(file)
    await untilProblems(registry, [])
  })

  void t.test('health.tcp: not ready while an address takes no connection', async (t) => {
    const port = await freePort()
    const servers = [createServer(), createServer()]
    const [first, second] = servers
    assert.ok(first !== undefined && second !== undefined)
    t.after(() => servers.map((server) => server.close()))
    for (const server of servers) server.on('connection', (socket) => socket.destroy())
    await listenOn(first, port)
    const addr = `127.0.0.1:${port}`
    const registry = await startWatched(t, {
      health: { tcp: [{ addr, interval: INTERVAL, timeout: '1s', threshold: 2 }] },
    })
    await untilProblems(registry, [])
    await close(first)
    const problems = await untilProblems(registry, [`tcp ${addr}`])
    assert.match(String(problems[`tcp ${addr}`]), /ECONNREFUSED/)
    await listenOn(second, port)
    await untilProblems(registry, [])
  })

  void t.test(
    'health.http: not ready after as many wrong answers in a row as health.http.threshold says',
    async (t) => {
      const upstream = await startUpstream(t)
      const check = {
        uri: upstream.uri,
        statuscode: 204,
        headers: { 'X-Key': ['a', 'b'] },
        interval: INTERVAL,
        threshold: 5,
      }
      const registry = await startWatched(t, { health: { http: [check] } })
      await untilProblems(registry, [])
      upstream.status = 302
      upstream.requests.length = 0
      const problems = await untilProblems(registry, [`http ${upstream.uri}`])
      assert.ok(upstream.requests.length >= 5, `after ${upstream.requests.length} requests`)
      assert.equal(problems[`http ${upstream.uri}`], 'it answered 302 instead of 204')
      assert.deepEqual([...new Set(upstream.requests)], ['HEAD a, b'])
      upstream.status = 204
      await untilProblems(registry, [])
    },
  )
})

test('the listener for operators has health and metrics, and nothing of the registry', async (t) => {
  const port = await freePort()
  const registry = await startRegistry(t, {
    config: {
      auth: { anonymous: ['pull'] },
      http: {
        debug: { addr: `127.0.0.1:${port}`, prometheus: { enabled: true, path: '/prometheus' } },
        headers: { 'X-Test': ['yes'] },
      },
    },
  })
  const debug = `http://127.0.0.1:${port}`
  for (const [path, status] of [
    ['/debug/health', 200],
    ['/healthz', 200],
    ['/readyz', 200],
    ['/prometheus', 200],
    ['/metrics', 404],
    ['/v2/', 404],
    ['/v2/_catalog', 404],
    ['/v2/library/app/manifests/one', 404],
    ['/', 404],
  ] as const) {
    const answer = await fetch(debug + path)
    assert.equal(answer.status, status, path)
    assert.ok(answer.headers.get('x-request-id'), path)
    await answer.body?.cancel()
  }
  assert.equal((await fetch(`${registry.url}/metrics`)).status, 403, 'clients need the right to read metrics')
  assert.equal((await fetch(`${registry.url}/debug/health`)).status, 200)
  for (const method of ['GET', 'HEAD']) {
    const probed = await fetch(registry.url, { method })
    assert.deepEqual([probed.status, await probed.text()], [200, ''], 'probes of CNCF distribution ask at /')
  }
  assert.equal(await registry.stop(), 0)
  await assert.rejects(fetch(`${debug}/healthz`))
})

test('without http.debug.prometheus.enabled the listener for operators has no metrics', async (t) => {
  const port = await freePort()
  await startRegistry(t, { config: { http: { debug: { addr: `127.0.0.1:${port}` } } } })
  assert.equal((await fetch(`http://127.0.0.1:${port}/metrics`)).status, 404)
  assert.equal((await fetch(`http://127.0.0.1:${port}/debug/health`)).status, 200)
})
