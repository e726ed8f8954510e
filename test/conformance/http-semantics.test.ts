import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import {
  type RegistryClient,
  assertContent,
  assertContentHeaders,
  assertRefused,
  describe,
  exchangeRaw,
  startClient,
} from '../registry-client.ts'

/** Headers that tell of the moment or of the connection, not of what was asked for. */
const VOLATILE_HEADERS = ['date', 'connection', 'keep-alive', 'x-request-id', 'transfer-encoding', 'content-length']

test('HTTP semantics', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)
  const name = uniqueName()
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
  const content = randomBlob()
  const blob = await client.pushBlob(name, content)
  const manifestUrls = [`/v2/${name}/manifests/v1`, `/v2/${name}/manifests/${descriptor.digest}`]
  const blobUrl = `/v2/${name}/blobs/${blob.digest}`
  const lists = [`/v2/${name}/tags/list`, `/v2/${name}/tags/list?n=1`, `/v2/${name}/referrers/${descriptor.digest}`]
  const readable = ['/v2/', '/v2/_catalog', '/v2/_oci/ext/discover', ...lists, ...manifestUrls, blobUrl]

  for (const [title, targets, methods, allowed] of [
    ['/v2/', ['/v2/'], ['POST', 'PUT', 'PATCH', 'DELETE'], ['GET', 'HEAD']],
    ['manifests', manifestUrls, ['POST', 'PATCH'], ['GET', 'HEAD', 'PUT', 'DELETE']],
    ['blobs', [blobUrl], ['POST', 'PUT', 'PATCH'], ['GET', 'HEAD', 'DELETE']],
    ['lists', ['/v2/_catalog', ...lists], ['POST', 'PUT', 'PATCH', 'DELETE'], ['GET', 'HEAD']],
  ] as const) {
    void t.test(
      `RFC 9110 "405 Method Not Allowed": a method that is not for it is refused with what is: ${title}`,
      async () => {
        for (const target of targets) {
          for (const method of methods) {
            const answer = await client.request(method, target)
            assertRefused(answer, 405, 'UNSUPPORTED')
            const named = (answer.header('allow') ?? '').split(',').map((each) => each.trim())
            for (const each of allowed)
              assert.ok(named.includes(each), `Allow: ${answer.header('allow')} for ${target}`)
            assert.ok(!named.includes(method))
          }
        }
      },
    )
  }

  void t.test('RFC 9110 "405 Method Not Allowed": where uploads begin nothing else can be done', async () => {
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE']) {
      const target = `/v2/${name}/blobs/uploads/?digest=${blob.digest}`
      assertRefused(await client.request(method, target), [404, 405])
    }
  })

  void t.test('RFC 9110 "OPTIONS": a URL says which methods it takes, and nothing of what is there', async () => {
    const upload = await client.startUpload(name)
    for (const [target, absent, allow] of [
      ['/v2/', '/v2', 'GET, HEAD, OPTIONS'],
      [`/v2/${name}/manifests/v1`, `/v2/${uniqueName()}/manifests/absent`, 'GET, HEAD, PUT, DELETE, OPTIONS'],
      [blobUrl, `/v2/${uniqueName()}/blobs/${unknownDigest()}`, 'GET, HEAD, DELETE, OPTIONS'],
      [`/v2/${name}/tags/list`, '/v2/UPPER/tags/list', 'GET, HEAD, OPTIONS'],
      [upload, `/v2/${name}/blobs/uploads/absent`, 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'],
    ] as const) {
      const [there, not] = [await client.request('OPTIONS', target), await client.request('OPTIONS', absent)]
      assert.equal(there.status, 200, describe(there))
      assert.deepEqual((there.header('allow') ?? '').split(', ').toSorted(), allow.split(', ').toSorted(), target)
      assert.equal(there.body.length, 0)
      assert.equal(not.status, 200, describe(not))
      for (const [header, value] of Object.entries(there.headers))
        if (!VOLATILE_HEADERS.includes(header)) assert.deepEqual(not.headers[header], value, `${header} of ${absent}`)
    }
    assertRefused(await client.request('OPTIONS', `/v2/${name}/nonsense`), 404, 'UNSUPPORTED')
  })

  void t.test('RFC 9110 "501 Not Implemented": a method that nobody knows is refused', async () => {
    for (const target of readable) {
      const answer = await exchangeRaw(client.origin, `BREW ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      assert.match(answer, /^HTTP\/1\.1 (?:400|405|501) /)
    }
  })

  void t.test('RFC 9110 "404 Not Found": a path that is not of the API is answered with 404', async () => {
    for (const target of [
      `/v2/${name}`,
      `/v2/${name}/`,
      `/v2/${name}/nonsense`,
      `/v2/${name}/manifests`,
      `/v2/${name}/manifests/v1/more`,
      `/v2/${name}/blobs`,
      `/v2/${name}/tags`,
      `/v2/${name}/tags/list/more`,
      `/v2/${name}/referrers`,
      '/v2/manifests/v1',
      '/v2/_catalog/more',
      '/v3/',
    ]) {
      assertRefused(await client.get(target), 404)
      assertRefused(await client.head(target), 404)
    }
  })

  void t.test('RFC 9110 "HEAD": HEAD gives the status and headers of GET', async () => {
    for (const target of [...readable, `/v2/${name}/manifests/absent`, `/v2/${uniqueName()}/tags/list`]) {
      const [get, head] = [await client.get(target), await client.head(target)]
      assert.equal(head.status, get.status, target)
      for (const [header, value] of Object.entries(get.headers)) {
        if (!VOLATILE_HEADERS.includes(header)) assert.deepEqual(head.headers[header], value, `${header} of ${target}`)
      }
      const length = head.header('content-length')
      if (length !== undefined) assert.equal(length, String(get.body.length), target)
    }
  })

  void t.test('RFC 9110 "HEAD": no byte of a body follows the headers of HEAD', async () => {
    for (const target of [...readable, `/v2/${name}/manifests/absent`]) {
      const answer = await exchangeRaw(client.origin, `HEAD ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      assert.match(answer, /^HTTP\/1\.1 \d{3} /)
      assert.ok(answer.endsWith('\r\n\r\n'), target)
      assert.equal(answer.indexOf('\r\n\r\n'), answer.length - 4, target)
    }
  })

  void t.test('RFC 9110 "ETag": manifests and blobs have a strong entity tag that follows the content', async () => {
    for (const [target, digest] of [...manifestUrls.map((url) => [url, descriptor.digest]), [blobUrl, blob.digest]]) {
      assert.equal((await client.get(target ?? '')).header('etag'), `"${digest}"`)
    }
  })

  void t.test('RFC 9110 "If-None-Match": what the client has is answered with 304, without a body', async () => {
    for (const target of [...manifestUrls, blobUrl]) {
      const { etag = '' } = (await client.get(target)).headers
      for (const condition of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        for (const method of ['GET', 'HEAD']) {
          const answer = await client.request(method, target, { headers: { 'If-None-Match': condition } })
          assert.equal(answer.status, 304, `${condition}: ${describe(answer)}`)
          assert.equal(answer.header('etag'), etag)
        }
      }
    }
  })

  void t.test('RFC 9110 "If-None-Match": what the client has not is answered with 200', async () => {
    for (const condition of ['"other"', 'W/"other"', '"a", "b"']) {
      const headers = { 'If-None-Match': condition }
      for (const url of manifestUrls) assertContent(await client.get(url, headers), { bytes, ...descriptor })
      assertContent(await client.get(blobUrl, headers), { bytes: content, digest: blob.digest })
    }
    assertRefused(await client.get(`/v2/${name}/manifests/absent`, { 'If-None-Match': '"other"' }), 404)
  })

  void t.test('RFC 9110 "If-None-Match": a tag that moved is answered with the new manifest', async () => {
    const other = uniqueName()
    await client.pushImage(other, { reference: 'v1' })
    const { etag = '' } = (await client.get(`/v2/${other}/manifests/v1`)).headers
    const moved = await client.pushImage(other, { reference: 'v1' })
    const answer = await client.get(`/v2/${other}/manifests/v1`, { 'If-None-Match': etag })
    assertContent(answer, { bytes: moved.bytes, ...moved.descriptor })
  })

  void t.test('spec "Referrers Tag Schema": a conditional push does not overwrite what has changed', async () => {
    const other = uniqueName()
    const first = await client.pushImage(other, { reference: 'v1' })
    const second = imageDocument(await client.pushBlob(other), [])
    const push = (headers: Record<string, string>) =>
      client.request('PUT', `/v2/${other}/manifests/v1`, {
        headers: { 'Content-Type': mediaTypes.image, ...headers },
        body: second,
      })
    assert.equal((await push({ 'If-Match': '"other"' })).status, 412)
    assert.equal((await push({ 'If-None-Match': '*' })).status, 412)
    assertContentHeaders(await client.head(`/v2/${other}/manifests/v1`), first.descriptor)
    assert.equal((await push({ 'If-Match': `"${first.descriptor.digest}"` })).status, 201)
    assertContent(await client.get(`/v2/${other}/manifests/v1`), { bytes: second, digest: digestOf(second) })
  })

  void t.test('spec "Registry Proxying": the ns parameter is ignored where nothing is proxied', async () => {
    const query = '?ns=docker.io'
    for (const url of manifestUrls) assertContent(await client.get(url + query), { bytes, ...descriptor })
    const headers = await client.head(`${manifestUrls[0]}${query}`)
    assertContentHeaders(headers, descriptor)
    assert.equal(headers.header('oci-namespace'), undefined)
    assertContent(await client.get(blobUrl + query), { bytes: content, digest: blob.digest })
    assert.equal((await client.get(`/v2/${name}/tags/list${query}`)).status, 200)
    assert.equal((await client.get(`/v2/${name}/referrers/${descriptor.digest}${query}`)).status, 200)
    assert.equal((await client.get(`/v2/${query}`)).status, 200)
    await pushWith(client, query)
  })

  void t.test('spec "API": parameters that nobody knows change nothing', async () => {
    const query = '?unknown=1&digest=x'
    for (const url of manifestUrls) assertContent(await client.get(url + query), { bytes, ...descriptor })
    assertContent(await client.get(blobUrl + query), { bytes: content, digest: blob.digest })
  })

  void t.test('spec "POST then PUT": locations hold for the host that the client used', async () => {
    const answer = await client.request('POST', `/v2/${name}/blobs/uploads/`, {
      headers: { Host: 'registry.test:5000' },
    })
    assert.equal(answer.status, 202, describe(answer))
    const location = new URL(answer.header('location') ?? '', 'http://registry.test:5000')
    assert.equal(location.host, 'registry.test:5000')
    const headers = { Host: 'registry.test:5000' }
    assert.equal((await client.get(location.pathname + location.search, headers)).status, 204)
  })

  void t.test(
    'spec "Warnings": a warning in any answer is 299, by "-", without a date, at most 4096 bytes',
    async () => {
      // The client asserts the format for each answer of this suite; these are the answers most likely to have one.
      for (const target of [...readable, `/v2/${name}/manifests/absent`]) await client.get(target)
      const refused = await client.putManifest(name, 'v2', '{}', 'application/vnd.docker.distribution.manifest.v1+json')
      assertRefused(refused, [400, 415])
    },
  )
})

test('spec "POST then PUT": locations may be relative', async (t) => {
  const client = await startClient(t, { config: { http: { relativeurls: true } } })
  const begun = await client.post(`/v2/${uniqueName()}/blobs/uploads/`)
  assert.match(begun.header('location') ?? '', /^\/v2\//)
  await pushWith(client, '?x=1')
  const name = uniqueName()
  for (const reference of ['a', 'b', 'c']) await client.pushImage(name, { reference })
  const answer = await client.get(`/v2/${name}/tags/list?n=2`)
  assert.deepEqual((await client.get(client.next(answer) ?? '')).json(), { name, tags: ['c'] })
})

/** Pushes a blob and an image with a parameter in each request. */
async function pushWith(client: RegistryClient, query: string): Promise<void> {
  const [name, config] = [uniqueName(), randomBlob()]
  const url = await client.startUpload(name, query)
  const put = await client.putBlob(`${url}${url.includes('?') ? '&' : '?'}${query.slice(1)}`, digestOf(config), config)
  assert.equal(put.status, 201, describe(put))
  const descriptor = { mediaType: mediaTypes.config, digest: digestOf(config), size: config.length }
  const bytes = imageDocument(descriptor, [])
  const image = await client.putManifest(name, `v1${query}`, bytes, mediaTypes.image)
  assert.equal(image.status, 201, describe(image))
  assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, digest: digestOf(bytes) })
}
