import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { run } from '../clients/programs.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { HarmedBucket } from '../faults/s3-corruptions.ts'
import { freePort, startRegistry, until } from '../harness.ts'
import { isMinioPresent, type MinioServer, startMinio } from '../minio-server.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'
import { startS3Proxy } from '../s3-proxy.ts'
import { createCertificate } from './certificates.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

const MIB = 1024 * 1024
const HEALTH = { storagedriver: { interval: '200ms', threshold: 1 } }

let shared: Promise<MinioServer> | undefined
const server = async () => (shared ??= startMinio())
after(async () => (await shared)?.remove())

/** What `storage.s3` says, for a folder in the bucket that nobody else uses. */
async function place(folder: string): Promise<Record<string, unknown>> {
  return { ...(await server()).storage, rootdirectory: folder }
}

/** How a start ends that must not succeed. */
async function failedStart(t: TestContext, s3: object, env: Record<string, string> = {}): Promise<string> {
  const folder = await temporaryFolder(t)
  const storage = { filesystem: { rootdirectory: join(folder, 'data') }, s3 }
  const http = { addr: `127.0.0.1:${await freePort()}` }
  const file = await writeConfig(folder, JSON.stringify({ version: '0.1', storage, http }))
  const start = performance.now()
  const { code, stdout, stderr } = await entrepot(['serve', file], { env })
  assert.equal(code, 1, `${stdout}${stderr}`)
  assert.ok(performance.now() - start < 10_000, `it took ${performance.now() - start} ms`)
  assert.doesNotMatch(`${stdout}${stderr}`, /canary|entrepot-test-secret/, 'a secret is shown')
  return stderr
}

test('a start says what is wrong with the bucket or its keys, and what to do', async (t) => {
  if (!isMinioPresent(t)) return
  const right = await place('failed-starts')
  const nobody = `http://127.0.0.1:${await freePort()}`
  const cases: [object, RegExp][] = [
    [{ bucket: 'absent' }, /the bucket "absent" at http.*there is no such bucket: create it/],
    [{ accesskey: 'nobody' }, /does not know the access key: correct "storage\.s3\.accesskey"/],
    [{ secretkey: 'canary-1b' }, /secret key does not belong to the access key: correct "storage\.s3\.secretkey"/],
    [{ regionendpoint: nobody }, /nothing answers there: start the store, or correct "storage\.s3\.regionendpoint"/],
  ]
  for (const [wrong, message] of cases) assert.match(await failedStart(t, { ...right, ...wrong }), message)
  const { accesskey: _accessKey, secretkey: _secretKey, ...keyless } = right
  const withoutKeys = { AWS_EC2_METADATA_DISABLED: 'true', HOME: await temporaryFolder(t) }
  assert.match(await failedStart(t, keyless, withoutKeys), /there are no credentials: set "storage\.s3\.accesskey"/)
})

test('a store is spoken to over TLS, with a certificate of a known authority or, if that is asked for, any', async (t) => {
  if (!isMinioPresent(t)) return
  const certificate = await createCertificate(await temporaryFolder(t), 'store')
  const minio = await startMinio(certificate)
  t.after(async () => minio.remove())
  const s3 = { ...minio.storage, regionendpoint: `127.0.0.1:${minio.port}` }
  assert.match(await failedStart(t, s3), /an authority that is not known here: name that in NODE_EXTRA_CA_CERTS/)
  assert.match(await failedStart(t, { ...s3, secure: false }), /the bucket "registry" at http:\/\/127/)
  const trusting = { NODE_EXTRA_CA_CERTS: certificate.certificate }
  for (const [own, env] of [
    [{}, trusting],
    [{ skipverify: true }, {}],
  ] as const) {
    const storage = { s3: { ...s3, ...own, rootdirectory: Object.keys(env).join() }, redirect: { disable: true } }
    const client = new RegistryClient((await startRegistry(t, { config: { storage }, env })).url)
    const [name, content] = [uniqueName(), randomBlob(11 * MIB)]
    const { digest } = await client.pushBlob(name, content)
    assert.ok((await client.get(`/v2/${name}/blobs/${digest}`)).body.equals(content))
  }
})

test('a start beside blobs in the bucket whose database is missing is refused', async (t) => {
  if (!isMinioPresent(t)) return
  const s3 = await place('lost-database')
  const registry = await startRegistry(t, { config: { storage: { s3 } } })
  await new RegistryClient(registry.url).pushBlob(uniqueName())
  assert.match(await failedStart(t, s3), /the bucket "registry" at http.* has blobs, but their database .* is missing/)
})

test('a start in a bucket that has a registry of CNCF distribution is refused, as it would look empty', async (t) => {
  if (!isMinioPresent(t)) return
  const s3 = await place('distribution')
  const { storage } = await server()
  const url = `${storage.regionendpoint}/${storage.bucket}/distribution/docker/registry/v2/blobs/x`
  const signed = ['--aws-sigv4', 'aws:amz:us-east-1:s3', '--user', `${storage.accesskey}:${storage.secretkey}`]
  const hash = `x-amz-content-sha256: ${createHash('sha256').update('x').digest('hex')}`
  await run('curl', ['--silent', '--fail', ...signed, '--header', hash, '--data-binary', 'x', '--request', 'PUT', url])
  assert.match(await failedStart(t, s3), /has a registry of CNCF distribution, .* "storage\.s3\.rootdirectory"/)
})

test('while the bucket is away the server is not ready and says why, and works again when it is back', async (t) => {
  if (!isMinioPresent(t)) return
  const minio = await startMinio()
  t.after(async () => minio.remove())
  const debug = `127.0.0.1:${await freePort()}`
  const config = {
    storage: { s3: minio.storage, redirect: { disable: true } },
    health: HEALTH,
    http: { debug: { addr: debug } },
  }
  const registry = await startRegistry(t, { config })
  const client = new RegistryClient(registry.url)
  const [name, large] = [uniqueName(), randomBlob(2 * MIB)]
  const { digest } = await client.pushBlob(name, large)
  await minio.stop()
  const readiness = async () => (await fetch(`http://${debug}/readyz`)).text()
  await until(
    async () => (await readiness()).includes('nothing answers there'),
    20_000,
    () => registry.output(),
  )
  assert.match(await readiness(), /"storage":"the bucket \\"registry\\" at http/)
  const pushed = await fetch(`${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf('lost')}`, {
    method: 'POST',
    body: 'lost',
  })
  assert.equal(pushed.status, 503)
  assert.ok(Number(pushed.headers.get('retry-after')) > 0)
  await minio.start()
  await until(
    async () => (await fetch(`http://${debug}/readyz`)).ok,
    20_000,
    () => registry.output(),
  )
  await client.pushBlob(name, Buffer.from('lost'))
  const pulled = await client.get(`/v2/${name}/blobs/${digest}`)
  assert.ok(pulled.body.equals(large))
})

test('objects are written with a checksum each, encrypted and in the class that is asked for', async (t) => {
  if (!isMinioPresent(t)) return
  const { port, keyId } = await server()
  const proxy = await startS3Proxy(t, port)
  const own = { regionendpoint: proxy.url, encrypt: true, keyid: keyId, storageclass: 'REDUCED_REDUNDANCY' }
  const s3 = { ...(await place('encrypted')), ...own, chunksize: 5 * MIB }
  const client = new RegistryClient(
    (await startRegistry(t, { config: { storage: { s3, redirect: { disable: true } } } })).url,
  )
  const name = uniqueName()
  for (const content of [randomBlob(1000), randomBlob(11 * MIB)]) {
    const { digest } = await client.pushBlob(name, content)
    assert.ok((await client.get(`/v2/${name}/blobs/${digest}`)).body.equals(content))
  }
  const written = proxy.requests.filter(({ operation }) => operation === 'put' || operation === 'put-part')
  assert.ok(written.filter(({ operation }) => operation === 'put-part').length >= 3)
  for (const { url, headers } of written) assert.match(String(headers['x-amz-checksum-crc32']), /^[\w+/]{6}==$/, url)
  for (const { operation, url, headers } of proxy.requests) {
    if (operation !== 'put' && operation !== 'begin-parts') continue
    assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], keyId, url)
    assert.equal(headers['x-amz-storage-class'], 'REDUCED_REDUNDANCY', url)
  }
})

test('a blob that comes in several requests is put together by the store, and what is sent for that has a checksum', async (t) => {
  if (!isMinioPresent(t)) return
  const proxy = await startS3Proxy(t, (await server()).port)
  const s3 = { ...(await place('pieces')), regionendpoint: proxy.url }
  const client = new RegistryClient(
    (await startRegistry(t, { config: { storage: { s3, redirect: { disable: true } } } })).url,
  )
  const [name, content] = [uniqueName(), randomBlob(19 * MIB)]
  const url = await client.startUpload(name)
  const cuts = [0, 6 * MIB, 6 * MIB + 10, 19 * MIB]
  for (const [index, start] of cuts.slice(0, -1).entries()) {
    const chunk = content.subarray(start, cuts[index + 1])
    assert.equal((await client.patchChunk(url, chunk)).status, 202)
  }
  proxy.requests.length = 0
  assert.equal((await client.putBlob(url, digestOf(content))).status, 201)
  const parts = proxy.requests.filter(({ operation }) => operation === 'put-part')
  assert.equal(parts.length, 3)
  const sent = parts.filter(({ headers }) => headers['x-amz-copy-source'] === undefined)
  assert.deepEqual(
    sent.map(({ headers }) => [headers['content-length'], String(headers['content-md5']).length]),
    [[String(5 * MIB), 24]],
  )
  assert.ok((await client.get(`/v2/${name}/blobs/${digestOf(content)}`)).body.equals(content))
})

test('what nothing needs any more leaves the bucket', async (t) => {
  if (!isMinioPresent(t)) return
  const s3 = await place('collected')
  const maintenance = { trash: { age: '0s' }, garbagecollection: { age: '1s', interval: '200ms' } }
  const registry = await startRegistry(t, { config: { storage: { s3, maintenance } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const { descriptor } = await client.pushImage(name, { reference: 'v1' })
  const { folder } = await server()
  const objects = async () => readdir(join(folder, 'collected', 'objects')).catch(() => [])
  assert.equal((await objects()).length, 3)
  assert.equal((await client.delete(`/v2/${name}/manifests/${descriptor.digest}`)).status, 202)
  await until(
    async () => (await objects()).length === 0,
    20_000,
    () => registry.output(),
  )
})

test('an upload goes on on another instance, which serves it, too', async (t) => {
  if (!isMinioPresent(t) || !(await isPostgresPresent(t))) return
  const cluster = await startPostgres()
  t.after(async () => cluster.remove())
  const storage = { s3: await place('instances'), redirect: { disable: true } }
  const config = { storage, database: { url: cluster.url('postgres') } }
  const [one, other] = [await startRegistry(t, { config }), await startRegistry(t, { config })]
  const [first, second] = [new RegistryClient(one.url), new RegistryClient(other.url)]
  const [name, content] = [uniqueName(), randomBlob(13 * MIB)]
  const digest = digestOf(content)
  const url = await first.startUpload(name)
  const onOther = other.url + new URL(url).pathname
  const cuts = [0, 1000, 6 * MIB, 6 * MIB + 5, content.length]
  for (const [index, start] of cuts.slice(0, -1).entries()) {
    const end = cuts[index + 1] ?? content.length
    const answer = await (index % 2 === 0 ? first : second).patchChunk(
      index % 2 === 0 ? url : onOther,
      content.subarray(start, end),
      `${start}-${end - 1}`,
    )
    assert.equal(answer.status, 202)
    assert.equal(answer.header('range'), `0-${end - 1}`)
  }
  await one.kill()
  assert.equal((await second.putBlob(onOther, digest)).status, 201)
  assert.ok((await second.get(`/v2/${name}/blobs/${digest}`)).body.equals(content))
  await one.start()
  assert.ok((await first.get(`/v2/${name}/blobs/${digest}`)).body.equals(content))
})

test('content that is pulled as a whole is read once, and compared with its digest on its way', async (t) => {
  if (!isMinioPresent(t)) return
  const proxy = await startS3Proxy(t, (await server()).port)
  const s3 = { ...(await place('read-once')), regionendpoint: proxy.url }
  const registry = await startRegistry(t, { config: { storage: { s3, redirect: { disable: true } } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const contents = [randomBlob(3 * MIB), randomBlob(3 * MIB)]
  const [whole, damaged] = await Promise.all(contents.map(async (bytes) => client.pushBlob(name, bytes)))
  assert.ok(whole !== undefined && damaged !== undefined)
  const reads = () => proxy.requests.filter(({ operation }) => operation === 'get').length
  assert.ok((await client.get(`/v2/${name}/blobs/${whole.digest}`)).body.equals(contents[0] ?? Buffer.alloc(0)))
  assert.equal(reads(), 1)
  const bucket = new HarmedBucket(await server(), 'read-once')
  await bucket.put((await bucket.markerOf(damaged.digest)).object, randomBlob(3 * MIB))
  // Nothing is remembered of the object that was there.
  await registry.stop()
  await registry.start()
  await assert.rejects(async () => (await fetch(`${registry.url}/v2/${name}/blobs/${damaged.digest}`)).arrayBuffer())
  await until(
    async () => (await client.head(`/v2/${name}/blobs/${damaged.digest}`)).status === 404,
    20_000,
    () => registry.output(),
  )
})
