import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import {
  type Descriptor,
  digestOf,
  dockerImageDocument,
  dockerListDocument,
  imageDocument,
  mediaTypes,
  randomBlob,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import {
  type Answer,
  RegistryClient,
  assertRefused,
  describe,
  exchangeRaw,
  record,
  startClient,
  strings,
} from '../registry-client.ts'
import { GoClient, targetOf, uploadedEnd, uploadTarget, withQuery } from './go-client.ts'

/** From 25.0 on, the stream of a layer has a type. */
const DAEMONS = [
  {
    version: '20.10.24',
    userAgent:
      'docker/20.10.24 go/go1.19.8 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24 \\(linux\\))',
    streamHeaders: [],
  },
  {
    version: '26.1.4',
    userAgent:
      'docker/26.1.4 go/go1.21.10 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/26.1.4 \\(linux\\))',
    streamHeaders: ['Content-Type: application/octet-stream'],
  },
] as const

type Daemon = (typeof DAEMONS)[number]

/** One line each, in an order that changes from request to request: it is that of a map in Go. */
const ACCEPTED = [
  'Accept: application/vnd.docker.distribution.manifest.v2+json',
  'Accept: application/vnd.docker.distribution.manifest.list.v2+json',
  'Accept: application/vnd.oci.image.index.v1+json',
  'Accept: application/vnd.docker.distribution.manifest.v1+prettyjws',
  'Accept: application/json',
  'Accept: application/vnd.oci.image.manifest.v1+json',
]

const CONTENT_RANGE = /bytes ([0-9]+)-([0-9]+)\/([0-9]+|\\*)/
/** The start of a TLS 1.2 handshake, as the daemon begins it with every registry that it has not been told about. */
const CLIENT_HELLO = Buffer.concat([Buffer.from('16030100c6010000c20303', 'hex'), randomBytes(192)])

test("Docker's daemon", { concurrency: 4 }, async (t) => {
  const registry = await startClient(t)

  void t.test('a daemon that begins with TLS sees by the first bytes that the registry speaks HTTP', async () => {
    const answer = await exchangeRaw(registry.origin, CLIENT_HELLO)
    // Go looks for exactly this in place of a TLS record, and the daemon then goes on without TLS.
    assert.equal(answer.slice(0, 5), 'HTTP/')
  })

  for (const daemon of DAEMONS) {
    void t.test(
      `docker push ${daemon.version}: layer and configuration are streamed, then comes the manifest`,
      async (t) => {
        const client = connect(t, registry, daemon)
        const [name, layer, config] = [uniqueName('docker'), randomBlob(100_000), randomBlob(1_500)]
        await ping(client)
        const pushedLayer = await streamBlob(client, daemon, name, layer)
        assert.equal((await client.send('HEAD', `/v2/${name}/blobs/${digestOf(config)}`)).status, 404)
        const pushedConfig = await streamBlob(client, daemon, name, config)
        await putManifest(client, `${name}/manifests/1`, dockerImageDocument(pushedConfig, [pushedLayer]))
      },
    )

    void t.test(
      `docker pull ${daemon.version}: tag, manifest, configuration and layer arrive byte for byte`,
      async (t) => {
        const client = connect(t, registry, daemon)
        const name = uniqueName('docker')
        const [layer, config] = [randomBlob(100_000), randomBlob(1_500)]
        const manifest = dockerImageDocument(await registry.pushBlob(name, config), [
          await registry.pushBlob(name, layer),
        ])
        await registry.pushManifest(name, manifest, mediaTypes.dockerImage, { reference: '1' })
        await ping(client)
        const digest = await resolveTag(client, name, '1', { mediaType: mediaTypes.dockerImage, size: manifest.length })
        assert.equal(digest, digestOf(manifest))
        const got = await client.send('GET', `/v2/${name}/manifests/${digest}`, { headers: ACCEPTED })
        assert.equal(got.header('content-type'), mediaTypes.dockerImage)
        assert.deepEqual(got.body, manifest)
        for (const blob of [config, layer]) {
          const answer = await client.send('GET', `/v2/${name}/blobs/${digestOf(blob)}`)
          // Go would unpack what says that it is packed: the digest would be another.
          assert.equal(answer.header('content-encoding'), undefined)
          assert.equal(answer.header('content-length'), String(blob.length))
          assert.ok(answer.body.equals(blob))
        }
      },
    )
  }

  const [, daemon] = DAEMONS

  void t.test('docker push: a stream of one byte is answered with the range 0-0', async (t) => {
    await streamBlob(connect(t, registry, daemon), daemon, uniqueName('docker'), randomBlob(1))
  })

  void t.test('docker push: a layer of a repository nearby is mounted and then looked up', async (t) => {
    const client = connect(t, registry, daemon)
    const [name, source] = [uniqueName('docker'), uniqueName('docker')]
    const { digest, size } = await registry.pushBlob(source)
    assert.equal((await client.send('HEAD', `/v2/${name}/blobs/${digest}`)).status, 404)
    const mounted = await client.send('POST', mountTarget(name, source, digest))
    assert.equal(mounted.status, 201, describe(mounted))
    await assertStat(client, name, { digest, size })
  })

  void t.test('docker push: a mount that fails is an upload that goes on or is cancelled', async (t) => {
    const client = connect(t, registry, daemon)
    const [name, source, layer] = [uniqueName('docker'), uniqueName('docker'), randomBlob(5_000)]
    await registry.pushBlob(source)
    const first = await client.send('POST', mountTarget(name, source, digestOf(layer)))
    const second = await client.send('POST', mountTarget(name, source, digestOf(layer)))
    const cancelled = await client.send('DELETE', uploadTarget(first))
    assert.ok(cancelled.status === 404 || cancelled.status < 400, describe(cancelled))
    await finishStream(client, daemon, { name, target: uploadTarget(second), bytes: layer })
  })

  void t.test('docker push: a layer that is there is not sent again', async (t) => {
    const client = connect(t, registry, daemon)
    const name = uniqueName('docker')
    await assertStat(client, name, await registry.pushBlob(name))
  })

  void t.test('docker push: after a broken stream another upload of the layer succeeds', async (t) => {
    const client = connect(t, registry, daemon)
    const [name, layer] = [uniqueName('docker'), randomBlob(200_000)]
    const target = uploadTarget(await client.send('POST', `/v2/${name}/blobs/uploads/`))
    const request = { headers: daemon.streamHeaders, body: layer, isStreamed: true, sentBytes: 90_000 }
    await client.cutOffUpload('PATCH', target, request)
    await streamBlob(client, daemon, name, layer)
  })

  void t.test('docker push: a layer damaged on the way is refused with DIGEST_INVALID in a JSON body', async (t) => {
    const client = connect(t, registry, daemon)
    const name = uniqueName('docker')
    const target = uploadTarget(await client.send('POST', `/v2/${name}/blobs/uploads/`))
    const patched = await client.send('PATCH', target, { body: randomBlob(), isStreamed: true })
    const closed = await client.send('PUT', withQuery(uploadTarget(patched), { digest: unknownDigest() }))
    assertDockerError(closed, 400, 'DIGEST_INVALID')
    // 404 has one meaning on an upload: begin anew.
    assertRefused(await client.send('PUT', withQuery(target, { digest: unknownDigest() })), 404, 'BLOB_UPLOAD_UNKNOWN')
  })

  void t.test('docker pull: of a list, in whatever order Accept comes, the list itself is given', async (t) => {
    const client = connect(t, registry, daemon)
    const name = uniqueName('docker')
    const manifest = dockerImageDocument(await registry.pushBlob(name), [await registry.pushBlob(name)])
    const child = await registry.pushManifest(name, manifest, mediaTypes.dockerImage)
    const list = dockerListDocument([{ ...child, platform: { os: 'linux', architecture: 'amd64' } }])
    const pushed = await client.send('PUT', `/v2/${name}/manifests/multi`, {
      headers: [`Content-Type: ${mediaTypes.dockerList}`],
      body: list,
    })
    assert.equal(pushed.status, 201, describe(pushed))
    for (let start = 0; start < ACCEPTED.length; start += 1) {
      const headers = [...ACCEPTED.slice(start), ...ACCEPTED.slice(0, start)]
      const answer = await client.send('HEAD', `/v2/${name}/manifests/multi`, { headers })
      assert.equal(answer.header('docker-content-digest'), digestOf(list))
      assert.equal(answer.header('content-type'), mediaTypes.dockerList)
    }
    const got = await client.send('GET', `/v2/${name}/manifests/${digestOf(list)}`, { headers: ACCEPTED })
    assert.deepEqual(got.body, list)
    const platform = await client.send('GET', `/v2/${name}/manifests/${child.digest}`, { headers: ACCEPTED })
    assert.deepEqual(platform.body, manifest)
  })

  void t.test('docker pull: an OCI image is given with its own type', async (t) => {
    const client = connect(t, registry, daemon)
    const name = uniqueName('docker')
    const manifest = imageDocument(await registry.pushBlob(name), [await registry.pushBlob(name)])
    await registry.pushManifest(name, manifest, mediaTypes.image, { reference: '1' })
    await resolveTag(client, name, '1', { mediaType: mediaTypes.image, size: manifest.length })
  })

  void t.test('docker pull: a layer whose download broke goes on where it was', async (t) => {
    const client = connect(t, registry, daemon)
    const [name, layer] = [uniqueName('docker'), randomBlob(3_000_000)]
    const { digest, size } = await registry.pushBlob(name, layer)
    const target = `/v2/${name}/blobs/${digest}`
    const part = await client.cutOffDownload(target, { readBytes: 1_234_567 })
    const rest = await client.send('GET', target, { headers: [`Range: bytes=${part.length}-`] })
    assert.equal(rest.status, 206, describe(rest))
    const [, start, end, total] = CONTENT_RANGE.exec(rest.header('content-range') ?? '') ?? []
    assert.deepEqual([start, end, total], [String(part.length), String(size - 1), String(size)])
    assert.ok(Buffer.concat([part, rest.body]).equals(layer))
  })

  void t.test('docker pull: what is not there is refused by a code that the daemon reads as "not found"', async (t) => {
    const client = connect(t, registry, daemon)
    const name = uniqueName('docker')
    for (const code of ['NAME_UNKNOWN', 'MANIFEST_UNKNOWN']) {
      // It asks by HEAD first, and by GET for the reason.
      const head = await client.send('HEAD', `/v2/${name}/manifests/none`, { headers: ACCEPTED })
      assert.equal(head.status, 404)
      assertDockerError(await client.send('GET', `/v2/${name}/manifests/none`, { headers: ACCEPTED }), 404, code)
      await registry.pushImage(name)
    }
    assertDockerError(await client.send('GET', `/v2/${name}/blobs/${unknownDigest()}`), 404, 'BLOB_UNKNOWN')
  })
})

test('docker pull --all-tags: all tags come, whatever the size of a page', async (t) => {
  const registry = await startClient(t, { config: { limits: { pagesize: 2 } } })
  const client = connect(t, registry, DAEMONS[1])
  const name = uniqueName('docker')
  const tags = ['1.0', '1.1', '2.0', '2.1', 'latest']
  for (const reference of tags) await registry.pushImage(name, { reference })
  const found: string[] = []
  for (let target: string | undefined = `/v2/${name}/tags/list`; target !== undefined;) {
    const answer = await client.send('GET', target)
    assert.equal(answer.status, 200, describe(answer))
    found.push(...strings(record(answer.json())['tags']))
    // The daemon takes whatever stands before the first semicolon, without its angle brackets.
    const link = answer
      .header('link')
      ?.split(';')[0]
      ?.replace(/^[<>]+|[<>]+$/g, '')
    target = link === undefined ? undefined : targetOf(answer, link)
  }
  assert.deepEqual(found, tags)
})

function connect(t: TestContext, registry: RegistryClient, { userAgent }: Daemon): GoClient {
  // The daemon keeps no connections (registry.go: DisableKeepAlives).
  return new GoClient(t, registry.origin, { userAgent, isKeptAlive: false })
}

async function ping(client: GoClient): Promise<void> {
  const answer = await client.send('GET', '/v2/')
  assert.equal(answer.status, 200, describe(answer))
  assert.equal(answer.header('docker-distribution-api-version'), 'registry/2.0')
}

async function streamBlob(client: GoClient, daemon: Daemon, name: string, bytes: Buffer): Promise<Descriptor> {
  const begun = await client.send('POST', `/v2/${name}/blobs/uploads/`)
  return finishStream(client, daemon, { name, target: uploadTarget(begun), bytes })
}

/** PATCH without a range or a length, PUT without a body, and HEAD for what became of it. */
async function finishStream(
  client: GoClient,
  daemon: Daemon,
  { name, target, bytes }: { name: string; target: string; bytes: Buffer },
): Promise<Descriptor> {
  const patched = await client.send('PATCH', target, { headers: daemon.streamHeaders, body: bytes, isStreamed: true })
  const next = uploadTarget(patched)
  // The daemon takes it for the size of the layer, and writes it into the manifest.
  assert.equal(uploadedEnd(patched) + 1, bytes.length)
  const digest = digestOf(bytes)
  const closed = await client.send('PUT', withQuery(next, { digest }))
  assert.equal(closed.status, 201, describe(closed))
  await assertStat(client, name, { digest, size: bytes.length })
  return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
}

async function assertStat(client: GoClient, name: string, blob: { digest: string; size: number }): Promise<void> {
  const answer = await client.send('HEAD', `/v2/${name}/blobs/${blob.digest}`)
  assert.equal(answer.status, 200, describe(answer))
  assert.equal(answer.header('content-length'), String(blob.size))
  assert.ok(answer.header('content-type'))
}

function mountTarget(name: string, source: string, digest: string): string {
  return withQuery(`/v2/${name}/blobs/uploads/`, { from: source, mount: digest })
}

/** Asserts what the daemon makes a descriptor of, and gives the digest. */
async function resolveTag(
  client: GoClient,
  name: string,
  tag: string,
  expected: { mediaType: string; size: number },
): Promise<string> {
  const answer = await client.send('HEAD', `/v2/${name}/manifests/${tag}`, { headers: ACCEPTED })
  assert.equal(answer.status, 200, describe(answer))
  assert.equal(answer.header('content-type'), expected.mediaType)
  assert.equal(answer.header('content-length'), String(expected.size))
  return answer.header('docker-content-digest') ?? ''
}

async function putManifest(client: GoClient, target: string, manifest: Buffer): Promise<void> {
  const headers = [`Content-Type: ${mediaTypes.dockerImage}`]
  const answer = await client.send('PUT', `/v2/${target}`, { headers, body: manifest })
  assert.equal(answer.status, 201, describe(answer))
  // Without it the daemon calls the push a failure.
  assert.equal(answer.header('docker-content-digest'), digestOf(manifest))
}

/** Asserts a refusal whose reason the daemon can show: it reads the body only if its type is JSON. */
function assertDockerError(answer: Answer, status: number, code: string): void {
  assertRefused(answer, status, code)
  assert.equal(answer.header('content-type')?.split(';')[0], 'application/json')
}
