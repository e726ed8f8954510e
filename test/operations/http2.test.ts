import assert from 'node:assert/strict'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { constants } from 'node:http2'
import { Agent } from 'node:https'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { record } from '../registry-client.ts'
import { createCertificate } from './certificates.ts'
import { temporaryFolder } from './command.ts'
import { Http2Client, type Http2Answer } from './http2-client.ts'
import { logLines } from './log-lines.ts'
import { secureGet } from './secure-get.ts'

const LARGE_BYTES = 16 * 1024 * 1024

async function startSecure(t: TestContext, http: Record<string, unknown> = {}) {
  const certificate = await createCertificate(await temporaryFolder(t), 'server')
  const registry = await startRegistry(t, {
    scheme: 'https',
    config: { log: { formatter: 'json' }, http: { tls: certificate, headers: { 'X-Test': ['yes'] }, ...http } },
  })
  return { registry, certificate }
}

async function startUpload(client: Http2Client, name: string): Promise<string> {
  const { status, headers } = await client.request('POST', `/v2/${name}/blobs/uploads/`)
  assert.equal(status, 202)
  return String(headers['location'])
}

async function pushBlob(client: Http2Client, name: string, bytes: Buffer) {
  const digest = digestOf(bytes)
  const location = await startUpload(client, name)
  const answer = await client.request('PUT', `${location}?digest=${digest}`, { body: bytes })
  assert.equal(answer.status, 201, answer.body.toString())
  assert.equal(answer.headers['docker-content-digest'], digest)
  return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
}

/** Waits until some of an upload is in the store. */
async function untilUnderWay({ dataDirectory }: TestRegistry, location: string): Promise<void> {
  const file = join(dataDirectory, 'uploads', basename(location))
  await until(
    async () => ((await stat(file).catch(() => undefined))?.size ?? 0) > 0,
    10_000,
    () => 'the server did not take the bytes',
  )
}

function assertRefused(answer: Http2Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.body.toString())
  assert.equal(answer.resetCode, constants.NGHTTP2_NO_ERROR)
  const { errors } = record(JSON.parse(answer.body.toString()))
  assert.ok(Array.isArray(errors))
  assert.equal(record(errors[0])['code'], code)
}

test('HTTP/2', { concurrency: 4 }, async (t) => {
  const { registry, certificate } = await startSecure(t)
  const client = await Http2Client.connect(t, registry.url, certificate.certificate)
  const eventually = (message: RegExp, field?: [string, unknown]) =>
    until(
      () =>
        logLines(registry.output()).some(
          (line) => message.test(String(line['msg'])) && (field === undefined || line[field[0]] === field[1]),
        ),
      10_000,
      () => `no line says ${String(message)} ${String(field)}:\n${registry.output()}`,
    )

  void t.test('an image is pushed and pulled, whole and in part', async () => {
    const name = uniqueName('h2')
    const large = randomBlob(LARGE_BYTES)
    const [config, layer] = [await pushBlob(client, name, randomBlob()), await pushBlob(client, name, large)]
    const manifest = imageDocument(config, [layer])
    const url = `/v2/${name}/manifests/latest`
    const pushed = await client.request('PUT', url, { headers: { 'content-type': mediaTypes.image }, body: manifest })
    assert.equal(pushed.status, 201, pushed.body.toString())

    const pulled = await client.request('GET', url)
    assert.ok(pulled.body.equals(manifest))
    assert.equal(pulled.headers['content-type'], mediaTypes.image)
    assert.equal(pulled.headers['x-test'], 'yes')
    const blob = `/v2/${name}/blobs/${layer.digest}`
    assert.ok((await client.request('GET', blob)).body.equals(large))
    const part = await client.request('GET', blob, { headers: { range: 'bytes=1000-70000' } })
    assert.equal(part.status, 206)
    assert.ok(part.body.equals(large.subarray(1000, 70_001)))
  })

  void t.test('a blob comes in chunks', async () => {
    const name = uniqueName('h2')
    const bytes = randomBlob(300_000)
    let location = await startUpload(client, name)
    for (const [start, end] of [
      [0, 100_000],
      [100_000, 300_000],
    ]) {
      const patched = await client.request('PATCH', location, {
        headers: { 'content-range': `${start}-${(end ?? 0) - 1}` },
        body: bytes.subarray(start, end),
      })
      assert.equal(patched.status, 202, patched.body.toString())
      assert.equal(patched.headers['range'], `0-${(end ?? 0) - 1}`)
      location = String(patched.headers['location'])
    }
    const closed = await client.request('PUT', `${location}?digest=${digestOf(bytes)}`)
    assert.equal(closed.status, 201)
  })

  void t.test('HEAD tells what GET would, without a body', async () => {
    const name = uniqueName('h2')
    const blob = await pushBlob(client, name, randomBlob(5_000))
    for (const [path, status, size] of [
      ['/v2/', 200, '2'],
      [`/v2/${name}/blobs/${blob.digest}`, 200, '5000'],
      [`/v2/${name}/manifests/none`, 404, undefined],
    ] as const) {
      const answer = await client.request('HEAD', path)
      assert.equal(answer.status, status)
      if (size !== undefined) assert.equal(answer.headers['content-length'], size)
      assert.equal(answer.body.length, 0)
    }
  })

  void t.test('errors carry their codes', async () => {
    const name = uniqueName('h2')
    assertRefused(await client.request('GET', `/v2/${name}/tags/list`), 404, 'NAME_UNKNOWN')
    await pushBlob(client, name, randomBlob())
    assertRefused(await client.request('GET', `/v2/${name}/blobs/${unknownDigest()}`), 404, 'BLOB_UNKNOWN')
    assertRefused(await client.request('GET', '/v2/UPPER/tags/list'), 400, 'NAME_INVALID')
    assertRefused(await client.request('PUT', `/v2/${name}/tags/list`), 405, 'UNSUPPORTED')
    assertRefused(await client.request('PROPFIND', '/v2/'), 405, 'UNSUPPORTED')
    assertRefused(await client.request('GET', '/nothing'), 404, 'UNSUPPORTED')
    assertRefused(await client.request('GET', '/%zz'), 400, 'UNSUPPORTED')
    assertRefused(await client.request('GET', `/${'a'.repeat(9_000)}`), 414, 'UNSUPPORTED')
  })

  void t.test('a refusal comes while the body is still on its way, and the connection goes on', async () => {
    const name = uniqueName('h2')
    const body = randomBlob(LARGE_BYTES)
    const headers = { 'content-type': mediaTypes.image }
    const announced = { ...headers, 'content-length': body.length }
    assertRefused(await client.request('PUT', `/v2/${name}/manifests/big`, { headers, body }), 413, 'SIZE_INVALID')
    assertRefused(
      await client.request('PUT', `/v2/${name}/manifests/big`, { headers: announced, body }),
      413,
      'SIZE_INVALID',
    )
    const upload = `/v2/${name}/blobs/uploads/none`
    assertRefused(await client.request('PATCH', upload, { body }), 404, 'BLOB_UPLOAD_UNKNOWN')
    const wrong = `${await startUpload(client, name)}?digest=${unknownDigest()}`
    assertRefused(await client.request('PUT', wrong, { body }), 400, 'DIGEST_INVALID')
    assert.equal((await client.request('GET', '/v2/')).status, 200)
  })

  void t.test('a client that cancels an upload can go on with it, and the log says so', async () => {
    const name = uniqueName('h2')
    const bytes = randomBlob(LARGE_BYTES)
    const location = await startUpload(client, name)
    const stream = client.open('PATCH', location, { 'x-request-id': 'cancelled-upload' }, true)
    stream.on('error', () => {})
    stream.write(bytes.subarray(0, LARGE_BYTES / 2))
    await untilUnderWay(registry, location)
    stream.close(constants.NGHTTP2_CANCEL)
    await eventually(/interrupted/, ['http.request.id', 'cancelled-upload'])
    await eventually(/cut off/, ['http.request.id', 'cancelled-upload'])
    const { headers } = await client.request('GET', location)
    const taken = Number(String(headers['range']).split('-')[1]) + 1
    assert.ok(taken > 1 && taken <= LARGE_BYTES / 2, `${taken} bytes`)
    const rest = await client.request('PUT', `${location}?digest=${digestOf(bytes)}`, { body: bytes.subarray(taken) })
    assert.equal(rest.status, 201, rest.body.toString())
  })

  void t.test('a manifest whose connection broke is not stored, however whole it looks', async (t) => {
    const name = uniqueName('h2')
    const config = await pushBlob(client, name, randomBlob())
    const manifest = imageDocument({ ...config, mediaType: mediaTypes.config }, [])
    const headers = { 'content-type': mediaTypes.image, 'x-request-id': 'broken-manifest' }
    const other = await Http2Client.connect(t, registry.url, certificate.certificate)
    const stream = other.open('PUT', `/v2/${name}/manifests/v1`, headers, true)
    stream.on('error', () => {})
    stream.write(manifest)
    await sleep(200)
    other.session.destroy()
    await eventually(/cut off/, ['http.request.id', 'broken-manifest'])
    assert.equal((await client.request('GET', `/v2/${name}/manifests/v1`)).status, 404)
  })

  void t.test('a client that cancels a download is logged as cut off', async () => {
    const name = uniqueName('h2')
    const { digest } = await pushBlob(client, name, randomBlob(8 * 1024 * 1024))
    const stream = client.open('GET', `/v2/${name}/blobs/${digest}`, { 'x-request-id': 'cancelled-download' })
    stream.on('error', () => {})
    await once(stream, 'data')
    stream.close(constants.NGHTTP2_CANCEL)
    await eventually(/cut off/, ['http.request.id', 'cancelled-download'])
  })

  void t.test('many requests share one connection', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, async () => client.request('GET', '/v2/')))
    assert.ok(answers.every(({ status }) => status === 200))
    assert.equal(client.session.remoteSettings.maxConcurrentStreams, 250)
  })

  void t.test('HTTP/1.1 is spoken with those who want it', async () => {
    const answer = await secureGet(`${registry.url}/v2/`, { ca: certificate.certificate })
    assert.deepEqual([answer.status, answer.httpVersion], [200, '1.1'])
  })
})

test('a body that stalls in HTTP/2 is cut after limits.bodyidletimeout, and only that stream', async (t) => {
  const certificate = await createCertificate(await temporaryFolder(t), 'server')
  const registry = await startRegistry(t, {
    scheme: 'https',
    config: { http: { tls: certificate }, limits: { bodyidletimeout: '300ms' } },
  })
  const client = await Http2Client.connect(t, registry.url, certificate.certificate)
  const stream = client.open('PATCH', await startUpload(client, uniqueName('h2')), {}, true)
  stream.on('error', () => {})
  stream.write(randomBlob())
  await once(stream, 'close')
  assert.equal(stream.rstCode, constants.NGHTTP2_CANCEL)
  assert.equal((await client.request('GET', '/v2/')).status, 200)
})

test('with http2.disabled only HTTP/1.1 is spoken over TLS', async (t) => {
  const { registry, certificate } = await startSecure(t, { http2: { disabled: true } })
  await assert.rejects(Http2Client.connect(t, registry.url, certificate.certificate))
  const answer = await secureGet(`${registry.url}/v2/`, { ca: certificate.certificate })
  assert.deepEqual([answer.status, answer.httpVersion], [200, '1.1'])
})

test('SIGTERM ends idle connections of both versions at once, and lets a stream end first', async (t) => {
  const { registry, certificate } = await startSecure(t)
  const [busy, idle] = await Promise.all(
    [1, 2].map(async () => Http2Client.connect(t, registry.url, certificate.certificate)),
  )
  assert.ok(busy !== undefined && idle !== undefined)
  const bytes = randomBlob(LARGE_BYTES)
  const location = await startUpload(busy, uniqueName('h2'))
  const stream = busy.open('PUT', `${location}?digest=${digestOf(bytes)}`, {}, true)
  stream.write(bytes.subarray(0, LARGE_BYTES / 2))
  await untilUnderWay(registry, location)
  const agent = new Agent({ keepAlive: true })
  await secureGet(`${registry.url}/v2/`, { ca: certificate.certificate, agent })
  const kept = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])
  assert.equal(kept.length, 1)
  const idleClosed = Promise.all([idle.session, ...kept].map(async (connection) => once(connection, 'close')))
  const stopped = registry.stop()
  await idleClosed
  const answered = once(stream, 'response')
  stream.end(bytes.subarray(LARGE_BYTES / 2))
  const [response] = await answered
  assert.equal(response[':status'], 201)
  assert.equal(await stopped, 0)
})

test('what is left over HTTP/2 when http.draintimeout is over is cut, and the exit code is 0', async (t) => {
  const { registry, certificate } = await startSecure(t, { draintimeout: '300ms' })
  const client = await Http2Client.connect(t, registry.url, certificate.certificate)
  const location = await startUpload(client, uniqueName('h2'))
  const stream = client.open('PATCH', location, {}, true)
  stream.on('error', () => {})
  stream.write(randomBlob(LARGE_BYTES / 2))
  await untilUnderWay(registry, location)
  const closed = new Promise((resolve) => stream.once('close', resolve))
  assert.equal(await registry.stop(), 0, registry.output())
  await closed
  assert.doesNotMatch(registry.output(), /\n +at /, 'a stack trace')
})
