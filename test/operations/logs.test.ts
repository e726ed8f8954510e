import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { test } from 'node:test'
import { unknownDigest } from '../content.ts'
import { freePort, startRegistry, type TestRegistry, until } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'
import { logLines } from './log-lines.ts'

/** Waits until the log has a line that a request with this id wrote. */
async function lineOf(registry: TestRegistry, id: string, message: RegExp): Promise<Record<string, unknown>> {
  const find = () =>
    logLines(registry.output()).find((line) => line['http.request.id'] === id && message.test(String(line['msg'])))
  await until(
    () => find() !== undefined,
    5_000,
    () => `no line of ${id} says ${String(message)}:\n${registry.output()}`,
  )
  return find() ?? {}
}

test('logs', { concurrency: 3 }, async (t) => {
  for (const formatter of ['json', 'logstash']) {
    void t.test(`with log.formatter ${formatter} every line is JSON, from the first to the last`, async (t) => {
      const registry = await startRegistry(t, {
        config: {
          log: { formatter, level: 'debug', fields: { service: 'registry', shard: 7 } },
          redis: { addr: 'a:1' },
        },
        env: { REGISTRY_NOTHING: 'x' },
      })
      const client = new RegistryClient(registry.url)
      await client.pushImage('library/app', { reference: 'one' })
      await client.get('/v2/library/app/manifests/none')
      assert.equal(await registry.stop(), 0)
      const lines = logLines(registry.output())
      assert.ok(registry.output().endsWith('\n'))
      for (const line of lines) assert.deepEqual([line['service'], line['shard']], ['registry', 7])
      const messages = lines.map((line) => `${String(line['level'])} ${String(line['msg'])}`)
      assert.ok(
        messages.some((text) => /^warn .*REGISTRY_NOTHING names no key/.test(text)),
        messages.join('\n'),
      )
      assert.ok(messages.some((text) => text.startsWith('warn redis is accepted, but not needed')))
      assert.ok(messages.some((text) => text === `info Entrepot answers on ${registry.url}`))
      assert.equal(messages.at(-1), 'info stopped')
    })
  }

  void t.test('each request has a line that says what was asked, by whom, and how it ended', async (t) => {
    const registry = await startRegistry(t, { config: { log: { formatter: 'json' } } })
    const client = new RegistryClient(registry.url)
    const headers = { 'X-Request-ID': 'the-one', 'User-Agent': 'test/1.0' }
    await client.get('/v2/_catalog?n=5', headers)
    const { time, 'http.response.duration': duration, ...line } = await lineOf(registry, 'the-one', /completed/)
    assert.match(String(duration), /^\d+\.\d{3}ms$/)
    assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000)
    assert.deepEqual(line, {
      level: 'info',
      module: 'http',
      'http.request.id': 'the-one',
      'http.request.method': 'GET',
      'http.request.uri': '/v2/_catalog?n=5',
      'http.request.remoteaddr': '127.0.0.1',
      'http.request.useragent': 'test/1.0',
      'http.response.status': 200,
      'http.response.written': '{"repositories":[]}'.length,
      msg: 'response completed',
    })
  })

  void t.test('a client that goes away before the answer is logged as 499, as nginx does', async (t) => {
    const registry = await startRegistry(t, { config: { log: { formatter: 'json' } } })
    const url = await new RegistryClient(registry.url).startUpload('library/app')
    const upload = request(url, { method: 'PATCH', headers: { 'X-Request-ID': 'gone', 'Content-Length': 1_000 } })
    upload.on('error', () => {})
    upload.write('half', () => upload.destroy())
    const line = await lineOf(registry, 'gone', /cut off/)
    assert.equal(line['http.response.status'], 499)
    assert.equal((await lineOf(registry, 'gone', /interrupted/))['level'], 'info')
  })

  void t.test('as text, lines are for people, and none spans several', async (t) => {
    const registry = await startRegistry(t, { config: { log: { fields: { service: 'registry' } } } })
    await new RegistryClient(registry.url).get('/v2/')
    assert.equal(await registry.stop(), 0)
    const lines = registry.output().trimEnd().split('\n')
    assert.ok(lines.length >= 4, registry.output())
    for (const line of lines) assert.match(line, /^\[\d{4}-\d\d-\d\d [\d:.]+\] (?:INFO|WARN): .*"service":"registry"/)
  })

  void t.test('log.level and log.accesslog.disabled make it quiet', async (t) => {
    const [silent, warning] = await Promise.all([
      startRegistry(t, { config: { log: { formatter: 'json', accesslog: { disabled: true } } } }),
      startRegistry(t, { config: { log: { formatter: 'json', level: 'warn' }, loglevel: 'info' } }),
    ])
    for (const registry of [silent, warning]) {
      await new RegistryClient(registry.url).get('/v2/')
      assert.equal(await registry.stop(), 0)
    }
    assert.deepEqual(
      logLines(silent.output()).filter((line) => 'http.request.uri' in line),
      [],
    )
    assert.match(silent.output(), /answers on/)
    assert.deepEqual(
      logLines(warning.output()).map((line) => line['level']),
      ['warn'],
    )
  })
})

function canary(): string {
  return `canary-${randomBytes(12).toString('hex')}`
}

test('no secret gets into the log, the answers, the metrics or the data folder, whatever goes wrong', async (t) => {
  const [secret, redis, basic, bearer, cookie, health] = [canary(), canary(), canary(), canary(), canary(), canary()]
  const encoded = Buffer.from(`user:${basic}`).toString('base64')
  // It is well until the registry is ready.
  const watched = createServer((_request, response) => response.end())
  const port = await freePort()
  await once(watched.listen(port, '127.0.0.1'), 'listening')
  t.after(() => watched.close())
  const config = {
    log: { formatter: 'json', level: 'debug' },
    http: { secret },
    redis: { addr: 'a:1', password: redis },
    health: {
      http: [{ uri: `http://127.0.0.1:${port}/`, headers: { Authorization: [`Bearer ${health}`] }, interval: '50ms' }],
    },
  }
  const registry = await startRegistry(t, { config })
  watched.close()
  watched.closeAllConnections()
  await until(
    () => registry.output().includes('a health check fails'),
    5_000,
    () => `no line says that the health check fails:\n${registry.output()}`,
  )
  const client = new RegistryClient(registry.url)
  const answers: string[] = [await (await fetch(`${registry.url}/readyz`)).text()]
  for (const headers of [
    { Authorization: `Basic ${encoded}` },
    { Authorization: `Bearer ${bearer}`, Cookie: `session=${cookie}`, 'Proxy-Authorization': `Bearer ${bearer}` },
  ]) {
    for (const [method, path] of [
      ['GET', '/v2/'],
      ['GET', `/v2/library/app/blobs/${unknownDigest()}`],
      ['PUT', '/v2/library/app/manifests/one'],
      ['POST', '/v2/library/app/blobs/uploads/'],
      ['GET', '/%zz'],
      ['GET', '/metrics'],
    ] as const) {
      const answer = await client.request(method, path, { headers })
      answers.push(JSON.stringify(answer.headers) + answer.body.toString())
    }
  }
  assert.equal(await registry.stop(), 0)
  const database = await readFile(`${registry.dataDirectory}/entrepot.db`, 'latin1')

  const file = await writeConfig(await temporaryFolder(t), JSON.stringify({ version: '0.1', ...config, htp: secret }))
  const [refused, checked] = await Promise.all([
    entrepot(['serve', file], { env: { REGISTRY_HTTP_SECRET: secret, REGISTRY_SECRET: secret } }),
    entrepot(['config', 'check', '--json', file]),
  ])
  assert.equal(refused.code, 1)
  const texts = [registry.output(), database, ...answers, ...Object.values(refused), ...Object.values(checked)]
  for (const text of texts.map(String)) {
    for (const planted of [secret, redis, basic, encoded, bearer, cookie, health]) {
      assert.ok(!text.includes(planted), `${planted} is in ${text.slice(0, 2_000)}`)
    }
  }
})
