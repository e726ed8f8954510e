import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { type Answer, RegistryClient } from '../registry-client.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

const CDN = 'https://cdn.example.com'
const SIGNED = { baseurl: CDN, signing: { type: 'cloudflare', secret: 'secret' } }

async function start(t: TestContext, config: Record<string, unknown>): Promise<RegistryClient> {
  return new RegistryClient((await startRegistry(t, { config })).url)
}

/** What an answer tells those who could keep it: clients and caches, and CDNs under both of their names. */
function cacheHeaders(answer: Answer): (string | undefined)[] {
  return ['cache-control', 'cdn-cache-control', 'surrogate-control'].map((name) => answer.header(name))
}

const KEPT = ['public, max-age=3600', 'max-age=86400', 'max-age=86400']
const NOT_KEPT = ['no-cache', 'no-store', 'no-store']

test('behind a CDN what a digest names is kept, and nothing else is', async (t) => {
  const client = await start(t, { cdn: {} })
  const name = uniqueName()
  const { descriptor } = await client.pushImage(name, { reference: 'v1' })
  const blob = await client.pushBlob(name)
  const get = async (path: string, headers = {}) => cacheHeaders(await client.get(`/v2/${name}/${path}`, headers))
  assert.deepEqual(await get(`blobs/${blob.digest}`), KEPT)
  assert.deepEqual(await get(`blobs/${blob.digest}`, { 'if-none-match': `"${blob.digest}"` }), KEPT)
  assert.deepEqual(await get(`manifests/${descriptor.digest}`), KEPT)
  assert.deepEqual(await get('manifests/v1'), NOT_KEPT)
  assert.deepEqual(await get('tags/list'), NOT_KEPT)
  assert.deepEqual(await get(`referrers/${descriptor.digest}`), NOT_KEPT)
  for (const [path, headers] of [
    ['manifests/v2', {}],
    [`blobs/${blob.digest}`, { range: 'bytes=1000-' }],
  ] as const) {
    assert.deepEqual(await get(path, headers), ['no-store', undefined, undefined], path)
  }
})

test('how long a CDN and others keep it is configured', async (t) => {
  const client = await start(t, { cdn: { edgeTtl: 60, browserTtl: 0 } })
  const name = uniqueName()
  const { digest } = await client.pushBlob(name)
  const answer = await client.get(`/v2/${name}/blobs/${digest}`)
  assert.deepEqual(cacheHeaders(answer), ['public, max-age=0', 'max-age=60', 'max-age=60'])
})

test('without a CDN no answer has headers for one', async (t) => {
  const client = await start(t, {})
  const name = uniqueName()
  const { digest } = await client.pushBlob(name)
  const answer = await client.get(`/v2/${name}/blobs/${digest}`)
  assert.deepEqual(cacheHeaders(answer), ['private, max-age=31536000, immutable', undefined, undefined])
  assert.equal((await client.get(`/cdn/v2/${name}/blobs/${digest}`)).status, 404)
})

test('a pull is led to the CDN with a signature, and the CDN gets the blob with it', async (t) => {
  const registry = await startRegistry(t, { config: { cdn: SIGNED } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const bytes = randomBlob(300_000)
  const { digest } = await client.pushBlob(name, bytes)
  const path = `/v2/${name}/blobs/${digest}`
  const led = await client.get(path)
  assert.equal(led.status, 307)
  assert.equal(led.header('cache-control'), 'no-store')
  assert.equal(led.header('cdn-cache-control'), undefined)
  assert.equal(led.header('docker-content-digest'), digest)
  const location = new URL(client.location(led))
  assert.equal(location.origin, CDN)
  assert.match(location.search, /^\?verify=\d{10}-[\w%]+$/)
  const head = await client.head(path)
  assert.deepEqual([head.status, head.header('content-length')], [200, '300000'])
  assert.equal((await client.get(path, { 'if-none-match': `"${digest}"` })).status, 304)
  // The CDN asks its origin with the same path and query.
  const whole = await client.get(location.pathname + location.search)
  assert.ok(whole.body.equals(bytes))
  assert.deepEqual(cacheHeaders(whole), KEPT)
  const part = await client.get(location.pathname + location.search, { range: 'bytes=10-19' })
  assert.deepEqual([part.status, part.body], [206, bytes.subarray(10, 20)])
  const unknown = await client.get(path.replace(name, uniqueName()))
  assert.equal(unknown.status, 404, 'nobody is led to what is not there')
  await until(
    () => registry.output().includes(`${location.pathname}?verify=…`),
    10_000,
    () => registry.output(),
  )
  assert.ok(!registry.output().includes(location.search), 'a signature is in the log')
})

test('below a prefix the CDN asks below it, too', async (t) => {
  const client = await start(t, { cdn: SIGNED, http: { prefix: '/nested/registry/' } })
  const bytes = randomBlob()
  const digest = digestOf(bytes)
  const path = '/nested/registry/v2/library/hello/blobs'
  assert.equal((await client.post(`${path}/uploads/?digest=${digest}`, { body: bytes })).status, 201)
  const { pathname, search } = new URL(client.location(await client.get(`${path}/${digest}`)))
  assert.equal(pathname, `/nested/registry/cdn/v2/library/hello/blobs/${digest}`)
  assert.ok((await client.get(pathname + search)).body.equals(bytes))
})

test('what is not for everybody is given to a CDN by a signature alone, and kept by nobody without one', async (t) => {
  const client = await start(t, { cdn: SIGNED, auth: { anonymous: ['push'] } })
  const name = uniqueName()
  const [{ digest }, other] = [await client.pushBlob(name), await client.pushBlob(name)]
  const pathOf = (digest: string) => `/cdn/v2/${name}/blobs/${digest}`
  const issued = Math.floor(Date.now() / 1000)
  const mac = createHmac('sha256', 'secret')
    .update(`${pathOf(digest)}${issued}`)
    .digest('base64')
  const query = `?verify=${issued}-${encodeURIComponent(mac)}`
  const answer = await client.get(pathOf(digest) + query)
  assert.equal(answer.status, 200)
  assert.deepEqual(cacheHeaders(answer), ['private, max-age=3600', 'max-age=86400', 'max-age=86400'])
  for (const target of [
    pathOf(digest),
    `${pathOf(digest)}${query.replace(String(issued), String(issued - 3600))}`,
    `${pathOf(other.digest)}${query}`,
    `/v2/${name}/blobs/${digest}${query}`,
  ]) {
    const refused = await client.get(target)
    assert.deepEqual([refused.status, ...cacheHeaders(refused)], [403, 'no-store', undefined, undefined], target)
  }
})

test('CloudFront, or another server of the storage, is where pulls are led as in CNCF distribution', async (t) => {
  const folder = await temporaryFolder(t)
  const privatekey = join(folder, 'key.pem')
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  await writeFile(privatekey, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const baseurl = 'https://files.example.com/registry/'
  const cases = [
    { name: 'redirect', options: { baseurl }, query: /^$/ },
    {
      name: 'cloudfront',
      options: { baseurl, privatekey, keypairid: 'K1', duration: '3000s' },
      query: /^\?Expires=\d+&Signature=[\w~-]+&Key-Pair-Id=K1$/,
    },
  ]
  for (const { query, ...entry } of cases) {
    const client = await start(t, { middleware: { storage: [entry] } })
    const name = uniqueName()
    const { digest } = await client.pushBlob(name)
    const { origin, pathname, search } = new URL(client.location(await client.get(`/v2/${name}/blobs/${digest}`)))
    const hex = digest.replace('sha256:', '')
    assert.equal(origin + pathname, `${baseurl}blobs/sha256/${hex.slice(0, 2)}/${hex}`)
    assert.match(search, query)
  }
})

test('"storage.redirect.disable" serves every blob from here', async (t) => {
  const client = await start(t, { cdn: SIGNED, storage: { redirect: { disable: true } } })
  const name = uniqueName()
  const { digest } = await client.pushBlob(name)
  assert.equal((await client.get(`/v2/${name}/blobs/${digest}`)).status, 200)
})

test('a CDN whose settings lack what they need stops the start, with what is missing', async (t) => {
  const file = await writeConfig(
    await temporaryFolder(t),
    `version: 0.1
cdn: {baseurl: "https://cdn.example.com/path", signing: {type: cloudfront, keypairid: K1}}
middleware: {storage: [{name: cloudfront, options: {baseurl: "https://a.example"}}]}
`,
  )
  const { code, stdout } = await entrepot(['config', 'check', '--json', file])
  assert.equal(code, 1)
  const { problems }: { problems: { path: string }[] } = JSON.parse(stdout)
  assert.deepEqual(problems.map(({ path }) => path).toSorted(), [
    'cdn.baseurl',
    'cdn.signing.privatekey',
    'middleware.storage.0.options.keypairid',
    'middleware.storage.0.options.privatekey',
  ])
  const purging = await writeConfig(
    await temporaryFolder(t),
    'version: 0.1\ncdn: {purge: {provider: cloudflare, zone: z, token: t}}\n',
  )
  const { stderr } = await entrepot(['config', 'check', purging])
  assert.match(stderr, /cdn\.purge\.provider: expected also "cdn\.baseurl" or "http\.host"/)
})
