import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  type Descriptor,
  digestOf,
  dockerImageDocument,
  imageDocument,
  indexDocument,
  json,
  mediaTypes,
  randomBlob,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import {
  type Answer,
  RegistryClient,
  assertContentHeaders,
  assertRefused,
  describe,
  errorCodes,
  record,
  startClient,
  strings,
} from '../registry-client.ts'
import { GoClient, targetOf, uploadTarget, withQuery } from './go-client.ts'

const ACCEPTED =
  'Accept: application/vnd.docker.distribution.manifest.v1+json,' +
  'application/vnd.docker.distribution.manifest.v1+prettyjws,' +
  'application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,' +
  'application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json'

const OCTETS = `Content-Type: ${mediaTypes.octetStream}`
/** What is refused with one of these is tried again, as if the server had a bad moment. */
const TEMPORARY_CODES = ['BLOB_UPLOAD_INVALID', 'TOOMANYREQUESTS', 'UNKNOWN', 'UNAVAILABLE']

test('go-containerregistry', { concurrency: 4 }, async (t) => {
  const registry = await startClient(t)

  void t.test('crane push: blobs of known length, then the manifest', async (t) => {
    const crane = connect(t, registry)
    const [name, layer, config] = [uniqueName('crane'), randomBlob(70_000), randomBlob(233)]
    await ping(crane)
    assert.equal((await crane.send('HEAD', `/v2/${name}/manifests/1`, { headers: [ACCEPTED] })).status, 404)
    const manifest = dockerImageDocument(await push(crane, name, config), [await push(crane, name, layer)])
    await putManifest(crane, `${name}/manifests/1`, manifest, mediaTypes.dockerImage)
    // A second push ends here.
    const head = await crane.send('HEAD', `/v2/${name}/manifests/1`, { headers: [ACCEPTED] })
    assert.equal(head.header('docker-content-digest'), digestOf(manifest))
  })

  void t.test('crane append -f -: a layer whose length nobody knows is streamed', async (t) => {
    const crane = connect(t, registry)
    const [name, layer] = [uniqueName('crane'), randomBlob(100_000)]
    await ping(crane)
    await finish(crane, await begin(crane, name), { bytes: layer, isStreamed: true })
    assertContentHeaders(await crane.send('HEAD', `/v2/${name}/blobs/${digestOf(layer)}`), {
      digest: digestOf(layer),
      size: layer.length,
    })
  })

  void t.test('crane copy: layers are mounted from where they are', async (t) => {
    const crane = connect(t, registry)
    const [name, source] = [uniqueName('crane'), uniqueName('crane')]
    const blob = await registry.pushBlob(source)
    const mounted = await mount(crane, registry, { name, source, digest: blob.digest })
    assert.equal(mounted.status, 201, describe(mounted))
    assertContentHeaders(await crane.send('HEAD', `/v2/${name}/blobs/${blob.digest}`), blob)
  })

  void t.test('crane copy: a mount that fails is an upload that goes on', async (t) => {
    const crane = connect(t, registry)
    const [name, source, layer] = [uniqueName('crane'), uniqueName('crane'), randomBlob()]
    const answer = await mount(crane, registry, { name, source, digest: digestOf(layer) })
    await finish(crane, uploadTarget(answer), { bytes: layer })
  })

  void t.test('crane copy: a mount that is refused can be tried again as a plain upload', async (t) => {
    const crane = connect(t, registry)
    const [name, layer] = [uniqueName('crane'), randomBlob()]
    const refused = await mount(crane, registry, { name, source: 'No/Such', digest: digestOf(layer) })
    assertRefused(refused, 400, 'NAME_INVALID')
    await finish(crane, await begin(crane, name), { bytes: layer })
  })

  void t.test('crane copy: an index is copied after its children, each under its digest', async (t) => {
    const crane = connect(t, registry)
    const name = uniqueName('crane')
    const manifest = imageDocument(await push(crane, name, randomBlob()), [await push(crane, name, randomBlob())])
    const digest = digestOf(manifest)
    assert.equal((await crane.send('HEAD', `/v2/${name}/manifests/${digest}`, { headers: [ACCEPTED] })).status, 404)
    await putManifest(crane, `${name}/manifests/${digest}`, manifest, mediaTypes.image)
    const index = indexDocument([{ mediaType: mediaTypes.image, digest, size: manifest.length }])
    await putManifest(crane, `${name}/manifests/multi`, index, mediaTypes.index)
    await assertManifest(crane, `${name}/manifests/multi`, index, mediaTypes.index)
    const one = `Accept: ${mediaTypes.image}`
    const child = await crane.send('GET', `/v2/${name}/manifests/${digest}`, { headers: [one] })
    assert.deepEqual(child.body, manifest)
  })

  void t.test('crane pull, crane digest: manifest and blobs are what their headers say', async (t) => {
    const crane = connect(t, registry)
    const [name, layer] = [uniqueName('crane'), randomBlob(90_000)]
    const manifest = imageDocument(await registry.pushBlob(name), [await registry.pushBlob(name, layer)])
    await registry.pushManifest(name, manifest, mediaTypes.image, { reference: '1' })
    await ping(crane)
    const head = await crane.send('HEAD', `/v2/${name}/manifests/1`, { headers: [ACCEPTED] })
    const expected = { digest: digestOf(manifest), size: manifest.length, mediaType: mediaTypes.image }
    assertContentHeaders(head, expected)
    await assertManifest(crane, `${name}/manifests/1`, manifest, mediaTypes.image)
    const got = await crane.send('GET', `/v2/${name}/blobs/${digestOf(layer)}`)
    // It compares the length with the manifest's before it reads.
    assertContentHeaders(got, { digest: digestOf(layer), size: layer.length })
    assert.equal(got.header('content-encoding'), undefined)
    assert.ok(got.body.equals(layer))
  })

  void t.test('crane tag, crane delete: a tag is put and deleted, the manifest stays', async (t) => {
    const crane = connect(t, registry)
    const name = uniqueName('crane')
    const { bytes, descriptor } = await registry.pushImage(name, { reference: '1' })
    await putManifest(crane, `${name}/manifests/latest`, bytes, mediaTypes.image)
    const deleted = await crane.send('DELETE', `/v2/${name}/manifests/latest`)
    assert.equal(deleted.status, 202, describe(deleted))
    await assertManifest(crane, `${name}/manifests/1`, bytes, mediaTypes.image)
    await assertManifest(crane, `${name}/manifests/${descriptor.digest}`, bytes, mediaTypes.image)
  })

  void t.test('referrers: after a push with a subject the list of referrers has its exact type', async (t) => {
    const crane = connect(t, registry)
    const name = uniqueName('crane')
    const subject = (await registry.pushImage(name)).descriptor
    const fields = { subject, artifactType: 'application/example' }
    const attached = imageDocument(await registry.pushBlob(name), [await registry.pushBlob(name)], fields)
    await putManifest(crane, `${name}/manifests/${digestOf(attached)}`, attached, mediaTypes.image)
    const headers = [`Accept: ${mediaTypes.index}`]
    const answer = await crane.send('GET', `/v2/${name}/referrers/${subject.digest}`, { headers })
    assert.equal(answer.status, 200, describe(answer))
    // With anything more, such as a charset, it would look for a tag instead.
    assert.equal(answer.header('content-type'), mediaTypes.index)
    const { manifests } = record(answer.json())
    assert.ok(Array.isArray(manifests))
    assert.deepEqual(
      manifests.map((entry: unknown) => record(entry)['digest']),
      [digestOf(attached)],
    )
  })

  void t.test('errors: a reason that it can show, and none that it takes for a bad moment', async (t) => {
    const crane = connect(t, registry)
    const name = uniqueName('crane')
    const get = (path: string) => crane.send('GET', `/v2/${name}/${path}`, { headers: [ACCEPTED] })
    const refusals = [await get('manifests/none')]
    await registry.pushImage(name)
    refusals.push(await get('manifests/none'), await crane.send('GET', `/v2/${name}/blobs/${unknownDigest()}`))
    const orphan = imageDocument({ mediaType: mediaTypes.config, digest: unknownDigest(), size: 2 }, [])
    const put = (body: Buffer) =>
      crane.send('PUT', `/v2/${name}/manifests/1`, { headers: [`Content-Type: ${mediaTypes.image}`], body })
    refusals.push(await put(orphan), await put(json({ schemaVersion: 2 })))
    const target = await begin(crane, name)
    const damaged = { digest: unknownDigest() }
    refusals.push(await crane.send('PUT', withQuery(target, damaged), { headers: [OCTETS] }))
    refusals.push(await crane.send('PATCH', target, { headers: [OCTETS], body: randomBlob() }))
    assert.deepEqual(
      refusals.map((answer) => [answer.status, ...errorCodes(answer)]),
      [
        [404, 'NAME_UNKNOWN'],
        [404, 'MANIFEST_UNKNOWN'],
        [404, 'BLOB_UNKNOWN'],
        [400, 'MANIFEST_BLOB_UNKNOWN'],
        [400, 'MANIFEST_INVALID'],
        [400, 'DIGEST_INVALID'],
        [404, 'BLOB_UPLOAD_UNKNOWN'],
      ],
    )
    const codes = refusals.flatMap(errorCodes)
    assert.ok(!codes.some((code) => TEMPORARY_CODES.includes(code)), codes.join(', '))
  })
})

test('crane ls, crane catalog: pages of 1,000 are asked for, shorter ones lead on by their Link', async (t) => {
  const config = { limits: { pagesize: 3 }, catalog: { maxentries: 2 } }
  const registry = await startClient(t, { config })
  const crane = connect(t, registry)
  const names = ['a/one', 'b/two', 'c/three', 'd/four', 'e/five']
  for (const name of names) await registry.pushImage(name, { reference: '1' })
  const tags = ['1', '1.0', '1.0.1', '2-rc_1', '3', 'latest', 'v4']
  for (const reference of tags) await registry.pushImage('a/one', { reference })
  await ping(crane)
  assert.deepEqual(await listPages(crane, '/v2/a/one/tags/list?n=1000', 'tags'), tags)
  assert.deepEqual(await listPages(crane, '/v2/_catalog?n=1000', 'repositories'), names)
})

function connect(t: TestContext, registry: RegistryClient): GoClient {
  const userAgent = 'crane/v0.22.1 go-containerregistry/v0.22.1'
  return new GoClient(t, registry.origin, { userAgent, isKeptAlive: true })
}

async function ping(crane: GoClient): Promise<void> {
  const answer = await crane.send('GET', '/v2/')
  assert.equal(answer.status, 200, describe(answer))
}

async function begin(crane: GoClient, name: string): Promise<string> {
  const headers = ['Content-Type: application/json']
  return uploadTarget(await crane.send('POST', `/v2/${name}/blobs/uploads/`, { headers }))
}

/** Pushes a blob that is not there yet. */
async function push(crane: GoClient, name: string, bytes: Buffer): Promise<Descriptor> {
  const digest = digestOf(bytes)
  assert.equal((await crane.send('HEAD', `/v2/${name}/blobs/${digest}`)).status, 404)
  await finish(crane, await begin(crane, name), { bytes })
  return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
}

/** One PATCH with all of a blob, and PUT with its digest at the location that the PATCH gave. */
async function finish(
  crane: GoClient,
  target: string,
  { bytes, isStreamed = false }: { bytes: Buffer; isStreamed?: boolean },
): Promise<void> {
  const patched = await crane.send('PATCH', target, { headers: [OCTETS], body: bytes, isStreamed })
  const digest = digestOf(bytes)
  const closed = await crane.send('PUT', withQuery(uploadTarget(patched), { digest }), { headers: [OCTETS] })
  assert.equal(closed.status, 201, describe(closed))
}

function mount(
  crane: GoClient,
  registry: RegistryClient,
  { name, source, digest }: { name: string; source: string; digest: string },
): Promise<Answer> {
  const query = { from: source, mount: digest, origin: new URL(registry.origin).host }
  const encoded = new URLSearchParams(query).toString()
  const headers = ['Content-Type: application/json']
  return crane.send('POST', `/v2/${name}/blobs/uploads/?${encoded}`, { headers })
}

async function putManifest(crane: GoClient, target: string, manifest: Buffer, mediaType: string): Promise<void> {
  const headers = [`Content-Type: ${mediaType}`]
  const answer = await crane.send('PUT', `/v2/${target}`, { headers, body: manifest })
  assert.equal(answer.status, 201, describe(answer))
}

async function assertManifest(crane: GoClient, target: string, manifest: Buffer, mediaType: string): Promise<void> {
  const answer = await crane.send('GET', `/v2/${target}`, { headers: [ACCEPTED] })
  assertContentHeaders(answer, { digest: digestOf(manifest), size: manifest.length, mediaType })
  assert.deepEqual(answer.body, manifest)
}

/** All entries of a list; a Link must begin with its angle bracket and stay with the scheme, host and port. */
async function listPages(crane: GoClient, first: string, field: string): Promise<string[]> {
  const found: string[] = []
  for (let target: string | undefined = first; target !== undefined;) {
    const answer = await crane.send('GET', target)
    assert.equal(answer.status, 200, describe(answer))
    found.push(...strings(record(answer.json())[field]))
    const link = answer.header('link')
    if (link !== undefined) assert.match(link, /^<[^>]+>/)
    target = link === undefined ? undefined : targetOf(answer, link.slice(1, link.indexOf('>')))
  }
  return found
}
