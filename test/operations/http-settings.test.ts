import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test, type TestContext } from 'node:test'
import { digestOf, indexDocument, mediaTypes, randomBlob, unknownDigest } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { describe, exchangeRaw, RegistryClient } from '../registry-client.ts'
import { logLines } from './log-lines.ts'

async function start(t: TestContext, config: Record<string, unknown>) {
  const registry = await startRegistry(t, { config: { log: { formatter: 'json' }, ...config } })
  return { registry, client: new RegistryClient(registry.url) }
}

/** Pushes under a path such as `/v2/library/app`, and gives every URL that the answers carry. */
async function urlsOfPush(client: RegistryClient, path: string, unfold = (location: string) => location) {
  const bytes = randomBlob()
  const begun = await client.post(`${path}/blobs/uploads/`)
  assert.equal(begun.status, 202, describe(begun))
  const upload = unfold(begun.header('location') ?? '')
  const patched = await client.request('PATCH', upload, { body: bytes })
  assert.equal(patched.status, 202, describe(patched))
  const closed = await client.request('PUT', `${upload}?digest=${digestOf(bytes)}`)
  assert.equal(closed.status, 201, describe(closed))
  const headers = { 'Content-Type': mediaTypes.index }
  const body = indexDocument([])
  const pushed = await client.request('PUT', `${path}/manifests/one`, { headers, body })
  await client.request('PUT', `${path}/manifests/two`, { headers, body })
  const listed = await client.get(`${path}/tags/list?n=1`)
  const next = /^<([^>]*)>; rel="next"$/.exec(listed.header('link') ?? '')?.[1] ?? ''
  return { bytes, urls: [...[begun, patched, closed, pushed].map((answer) => answer.header('location') ?? ''), next] }
}

test('settings of HTTP', { concurrency: 3 }, async (t) => {
  void t.test('without http.host, URLs are paths, which hold behind any proxy', async (t) => {
    const { client } = await start(t, {})
    const { urls } = await urlsOfPush(client, '/v2/library/app')
    for (const url of urls) assert.match(url, /^\/v2\/library\/app\//)
  })

  void t.test('http.prefix stands before every URL, and there is nothing without it', async (t) => {
    const { client } = await start(t, { http: { prefix: '/my/nested/registry/' } })
    assert.equal((await client.get('/my/nested/registry/v2/')).status, 200)
    assert.equal((await client.get('/v2/')).status, 404)
    assert.equal((await client.get('/registry/v2/')).status, 404)
    const path = '/my/nested/registry/v2/library/app'
    const { bytes, urls } = await urlsOfPush(client, path)
    for (const url of urls) assert.ok(url.startsWith(`${path}/`), url)
    const blob = await client.get(`${path}/blobs/${digestOf(bytes)}`)
    assert.ok(blob.body.equals(bytes))
    assert.equal((await client.get('/readyz')).status, 200)
  })

  void t.test('http.host makes every URL absolute, with the prefix', async (t) => {
    const { client } = await start(t, { http: { host: 'https://registry.example.com:8443/', prefix: '/nested/' } })
    const base = 'https://registry.example.com:8443'
    const { urls } = await urlsOfPush(client, '/nested/v2/library/app', (location) => {
      assert.ok(location.startsWith(base), location)
      return location.slice(base.length)
    })
    for (const url of urls) assert.ok(url.startsWith(`${base}/nested/v2/library/app/`), url)
  })

  void t.test('http.relativeurls keeps them paths in spite of http.host', async (t) => {
    const { client } = await start(t, { http: { host: 'https://registry.example.com', relativeurls: true } })
    const { urls } = await urlsOfPush(client, '/v2/library/app')
    for (const url of urls) assert.match(url, /^\/v2\/library\/app\//)
  })

  void t.test('http.headers and a request id are on every answer, whatever it says', async (t) => {
    const { client, registry } = await start(t, {
      http: { headers: { 'X-Content-Type-Options': ['nosniff'], 'X-Several': ['one', 'two'] } },
      auth: { anonymous: ['pull', 'push'] },
    })
    const { descriptor } = await client.pushImage('library/app', { reference: 'one' })
    const manifest = '/v2/library/app/manifests/one'
    const expected: [string, string, number][] = [
      ['GET', '/v2/', 200],
      ['HEAD', manifest, 200],
      ['GET', '/v2/library/app/tags/list', 200],
      ['GET', `/v2/library/app/referrers/${descriptor.digest}`, 200],
      ['POST', '/v2/library/app/blobs/uploads/', 202],
      ['GET', '/v2/library/app/manifests/none', 404],
      ['GET', `/v2/library/app/blobs/${unknownDigest()}`, 404],
      ['PUT', '/v2/library/app/tags/list', 405],
      ['GET', '/v2/_catalog', 403],
      ['DELETE', manifest, 403],
      ['GET', '/v2/UPPER/tags/list', 400],
      ['GET', '/nothing', 404],
      ['GET', '/%zz', 400],
      ['GET', `/${'a'.repeat(8_200)}`, 414],
      ['GET', '/healthz', 200],
      ['GET', '/readyz', 200],
      ['GET', '/metrics', 403],
    ]
    for (const [method, path, status] of expected) {
      const answer = await client.request(method, path)
      assert.equal(answer.status, status, describe(answer))
      assert.equal(answer.header('x-content-type-options'), 'nosniff', describe(answer))
      assert.equal(answer.header('x-several'), 'one, two', describe(answer))
      assert.match(answer.header('x-request-id') ?? '', /^[\da-f-]{36}$/, describe(answer))
    }
    const logged = () => logLines(registry.output()).filter((line) => 'http.response.status' in line)
    await until(
      () =>
        expected.every(([method, path, status]) =>
          logged().some(
            (line) =>
              line['http.request.method'] === method &&
              line['http.request.uri'] === path &&
              line['http.response.status'] === status,
          ),
        ),
      5_000,
      () => `not every request is in the log:\n${registry.output()}`,
    )
  })

  void t.test(
    'http.headers lets the pages of another site ask the registry, which OPTIONS tells without a right',
    async (t) => {
      const headers = { 'Access-Control-Allow-Origin': ['https://ui.example'], 'Access-Control-Allow-Methods': ['GET'] }
      const { client } = await start(t, { http: { headers, prefix: '/r' }, auth: { anonymous: [] } })
      for (const path of [
        '/v2/',
        '/v2/_catalog',
        '/v2/library/app/tags/list',
        `/v2/library/app/manifests/${unknownDigest()}`,
      ]) {
        const answer = await client.request('OPTIONS', `/r${path}`, {
          headers: { Origin: 'https://ui.example', 'Access-Control-Request-Method': 'GET' },
        })
        assert.equal(answer.status, 200, describe(answer))
        assert.equal(answer.header('access-control-allow-origin'), 'https://ui.example')
        assert.equal(answer.header('access-control-allow-methods'), 'GET')
        assert.match(answer.header('allow') ?? '', /^GET, HEAD, (?:PUT, DELETE, )?OPTIONS$/)
      }
      assert.equal((await client.request('OPTIONS', '/metrics')).status, 200)
      assert.equal((await client.request('OPTIONS', '/v2/')).status, 404, 'there is nothing without the prefix')
      assert.equal((await client.get('/r/v2/_catalog')).status, 403)
    },
  )

  void t.test('a request id that looks like one is taken over; any other is made anew', async (t) => {
    const { client, registry } = await start(t, {})
    const idOf = async (sent?: string) =>
      (await client.get('/v2/', sent === undefined ? {} : { 'X-Request-ID': sent })).header('x-request-id') ?? ''
    const sane = ['a', 'trace-1.2:3_4', '7e9d6f0c-6a0e-4d0b-8a53-0d3c3d0c5a11', 'x'.repeat(128)]
    for (const id of sane) assert.equal(await idOf(id), id)
    const made = [await idOf(), await idOf()]
    for (const id of ['', 'x'.repeat(129), 'with space', '"quoted"', '<b>', 'a,b', 'ünï', '${jndi:x}', 'a/b']) {
      made.push(await idOf(Buffer.from(id).toString('latin1')))
    }
    for (const id of made) assert.match(id, /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/)
    assert.equal(new Set(made).size, made.length)
    await until(
      () => {
        const ids = new Set(logLines(registry.output()).map((line) => line['http.request.id']))
        return [...sane, ...made].every((id) => ids.has(id))
      },
      5_000,
      () => `not every id is in the log:\n${registry.output()}`,
    )
  })

  void t.test('what is no request is answered with an id, under which the log says why', async (t) => {
    const { client, registry } = await start(t, { limits: { headertimeout: '1s' } })
    const large = 'a'.repeat(17_000)
    for (const [sent, status, reason] of [
      ['NONSENSE\r\n\r\n', 400, /valid HTTP request/],
      [`GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Large: ${large}\r\n\r\n`, 431, /too large/],
      ['CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', 405, /no proxy/],
      ['GET /v2/ HTTP/1.1\r\nHost: a\r\n', 408, /in time/],
    ] as const) {
      const answer = await exchangeRaw(client.origin, sent)
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
      const id = /\r\nX-Request-Id: ([\da-f-]{36})\r\n/i.exec(answer)?.[1]
      assert.ok(id !== undefined, answer)
      const logged = () => logLines(registry.output()).find((line) => line['http.request.id'] === id)
      await until(
        () => logged() !== undefined,
        5_000,
        () => `no line has the id ${id}:\n${registry.output()}`,
      )
      assert.match(String(logged()?.['reason']), reason)
      assert.equal(logged()?.['http.response.status'], status)
      assert.equal(logged()?.['http.request.remoteaddr'], '127.0.0.1')
    }
  })

  void t.test('what is too large to be a request is refused, and the next is served', async (t) => {
    const { client } = await start(t, {})
    const oversized = `GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Large: ${'a'.repeat(17_000)}\r\n\r\n`
    assert.match(await exchangeRaw(client.origin, oversized), /^HTTP\/1\.1 431 /)
    const large = { 'X-Large': 'a'.repeat(15_000) }
    assert.equal((await client.get('/v2/', large)).status, 200)
    assert.equal((await client.get(`/v2/?${'a'.repeat(8_187)}`)).status, 200)
    assert.equal((await client.get(`/v2/?${'a'.repeat(8_188)}`)).status, 414)
    assert.equal((await client.get('/v2/')).status, 200)
  })

  void t.test('limits.keepalivetimeout ends connections that nobody uses, and tells clients so', async (t) => {
    const { client, registry } = await start(t, { limits: { keepalivetimeout: '2s' } })
    assert.equal((await client.get('/v2/')).header('keep-alive'), 'timeout=2')
    const socket = connect(Number(new URL(registry.url).port), '127.0.0.1')
    socket.setTimeout(20_000, () => socket.destroy(new Error('it stays open')))
    socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
    const [answer] = await once(socket, 'data')
    assert.match(String(answer), /^HTTP\/1\.1 200 /)
    const answeredAt = performance.now()
    await once(socket, 'end')
    assert.ok(performance.now() - answeredAt > 1_500, 'it was ended too early')
  })
})
