import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { expectSound, runFsck } from '../faults/fsck.ts'
import { sharedMinio, startInBucket } from '../faults/registry-in-bucket.ts'
import { pushVariedStore } from '../faults/varied-store.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { isMinioPresent } from '../minio-server.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'
import { startS3Proxy } from '../s3-proxy.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

/** What lists and documents say, as far as it is asked here. */
interface Said {
  readonly repositories?: readonly string[]
  readonly tags?: readonly string[]
  readonly manifests?: readonly { readonly digest: string }[]
  readonly layers?: readonly { readonly digest: string }[]
  readonly config?: { readonly digest: string }
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the specification promises
const said = (body: Buffer): Said => JSON.parse(body.toString()) as Said

/** Everything that clients can pull: names, tags, and each manifest with its type, its bytes, its referrers and its blobs. */
async function everything(client: RegistryClient): Promise<Map<string, unknown>> {
  const { repositories = [] } = said((await client.get('/v2/_catalog')).body)
  const seen = new Map<string, unknown>()
  for (const name of repositories) {
    const { tags = [] } = said((await client.get(`/v2/${name}/tags/list`)).body)
    // A repository of which everything was deleted is not in the inventory.
    if (tags.length > 0) seen.set(name, tags)
    const references = [...tags]
    for (let reference = references.pop(); reference !== undefined; reference = references.pop()) {
      if (seen.has(`${name}@${reference}`)) continue
      const answer = await client.get(`/v2/${name}/manifests/${reference}`, { accept: '*/*' })
      const digest = answer.header('docker-content-digest') ?? ''
      const referrers = said((await client.get(`/v2/${name}/referrers/${digest}`)).body)
      const { status, body } = answer
      seen.set(`${name}@${reference}`, [status, digest, answer.header('content-type'), body.toString(), referrers])
      const { manifests = [], layers = [], config } = status === 200 ? said(body) : {}
      for (const { digest } of [...manifests, ...(referrers.manifests ?? [])]) references.push(digest)
      for (const { digest } of [...layers, ...(config === undefined ? [] : [config])]) {
        const blob = await client.get(`/v2/${name}/blobs/${digest}`)
        seen.set(`${name}@${digest}`, [blob.status, digestOf(blob.body)])
      }
    }
  }
  return seen
}

/** Loses the database of a registry that has ended. */
async function loseDatabase({ dataDirectory }: TestRegistry): Promise<void> {
  for (const ending of ['', '-wal', '-shm']) await rm(join(dataDirectory, `entrepot.db${ending}`), { force: true })
}

test('a lost database is made again out of the bucket: all that could be pulled can be pulled', async (t) => {
  if (!isMinioPresent(t)) return
  const { registry, client, target } = await startInBucket(t)
  const name = uniqueName('rebuild')
  const store = await pushVariedStore(client, name)
  // A tag that moves, one that goes, and one that comes back out of the trash.
  const first = await client.pushImage(name, { reference: 'moving' })
  await client.pushImage(name, { reference: 'moving' })
  await client.pushImage(name, { reference: 'going' })
  await client.delete(`/v2/${name}/manifests/going`)
  const back = await client.pushImage(name, { reference: 'back' })
  await client.delete(`/v2/${name}/manifests/${back.descriptor.digest}`)
  const restored = await entrepot(['trash', 'restore', name, back.descriptor.digest, target.config])
  assert.equal(restored.code, 0, restored.stderr)
  await expectSound(t, target, { isOnline: true })
  const before = await everything(client)
  assert.ok(before.has(`${name}@${store.index}`) && before.has(`${name}@${store.referrer}`))

  await registry.kill()
  await loseDatabase(registry)
  const { code, findings, checked } = await runFsck(t, target, { options: ['--rebuild', '--deep'] })
  assert.deepEqual(
    findings.filter(({ severity }) => severity === 'error'),
    [],
  )
  assert.equal(code, 0)
  assert.ok((checked['manifests'] ?? 0) >= 12)
  await registry.start()
  assert.deepEqual(await everything(client), before)
  // Without a tag, but not deleted.
  assert.equal((await client.get(`/v2/${name}/manifests/${first.descriptor.digest}`)).status, 200)
  assert.equal((await client.get(`/v2/${name}/manifests/going`)).status, 404)
  assert.equal((await client.get(`/v2/${name}/deleted/manifests/gone`)).status, 404)
})

test('a rebuild is refused beside metadata, beside a server, and where content is in a folder', async (t) => {
  if (!isMinioPresent(t)) return
  const { registry, client, target } = await startInBucket(t)
  await client.pushImage(uniqueName(), { reference: 'v1' })
  const busy = await entrepot(['fsck', '--rebuild', target.config])
  assert.equal(busy.code, 1)
  assert.match(busy.stderr, /works in the data folder|is in use/)
  const online = await entrepot(['fsck', '--rebuild', '--online', target.config])
  assert.match(online.stderr, /leave out --online/)
  await registry.stop()
  const present = await entrepot(['fsck', '--rebuild', target.config])
  assert.equal(present.code, 1)
  assert.match(present.stderr, /there is metadata already/)
  const folder = await temporaryFolder(t)
  const storage = { filesystem: { rootdirectory: join(folder, 'data') } }
  const file = await writeConfig(folder, JSON.stringify({ version: '0.1', storage }))
  const inFolder = await entrepot(['fsck', '--rebuild', file])
  assert.equal(inFolder.code, 1)
  assert.match(inFolder.stderr, /restore a backup/)
})

test('a bucket from before there was an inventory gets one with the next start', async (t) => {
  if (!isMinioPresent(t)) return
  const { registry, client, target, bucket } = await startInBucket(t)
  await pushVariedStore(client, uniqueName('rebuild'))
  const before = await everything(client)
  await registry.stop()
  await bucket.remove('repositories')
  await bucket.put(`repositories/never/there/_tags/v1/sha256/${'5'.repeat(64)}`, Buffer.alloc(0))
  const { findings } = await runFsck(t, target)
  const wrong = findings.filter(({ kind }) => kind === 'inventory-wrong').map(({ repository }) => repository)
  assert.ok(wrong.includes('never/there') && new Set(wrong).size > 1, JSON.stringify(findings))
  await registry.start()
  await until(
    async () => registry.output().includes('the inventory was brought up to date'),
    20_000,
    () => registry.output(),
  )
  await registry.stop()
  await expectSound(t, target)
  await loseDatabase(registry)
  assert.equal((await runFsck(t, target, { options: ['--rebuild'] })).code, 0)
  await registry.start()
  assert.deepEqual(await everything(client), before)
})

test('what is missing or damaged in the bucket is told, and everything else is made again', async (t) => {
  if (!isMinioPresent(t)) return
  const { registry, client, target, bucket } = await startInBucket(t)
  const name = uniqueName('rebuild')
  const layer = await client.pushBlob(name, randomBlob(1_000))
  const harmed = imageDocument(await client.pushBlob(name), [layer])
  await client.putManifest(name, 'harmed', harmed, mediaTypes.image)
  const flipped = await client.pushImage(name, { reference: 'flipped' })
  const whole = await client.pushImage(name, { reference: 'whole' })
  await registry.stop()
  await bucket.remove((await bucket.markerOf(layer.digest)).key)
  await bucket.put((await bucket.markerOf(flipped.descriptor.digest)).object, randomBlob(whole.bytes.length))
  await loseDatabase(registry)
  const { code, findings } = await runFsck(t, target, { options: ['--rebuild'] })
  assert.equal(code, 1)
  const told = findings.map(({ kind, digest }) => `${kind} ${digest}`)
  for (const expected of [
    `child-missing ${digestOf(harmed)}`,
    `content-missing ${flipped.descriptor.digest}`,
    `child-missing ${flipped.descriptor.digest}`,
  ]) {
    assert.ok(told.includes(expected), `${expected} is not among ${told.join('\n')}`)
  }
  await registry.start()
  assert.equal((await client.get(`/v2/${name}/manifests/whole`)).status, 200)
  assert.equal((await client.get(`/v2/${name}/manifests/harmed`)).status, 404)
  await client.pushBlob(name, randomBlob(10))
})

test('a push is acknowledged only when the inventory has it', async (t) => {
  if (!isMinioPresent(t)) return
  const proxy = await startS3Proxy(t, (await sharedMinio()).port)
  const { registry, client, target } = await startInBucket(t, { s3: { regionendpoint: proxy.url } })
  const name = uniqueName('rebuild')
  const bytes = imageDocument(await client.pushBlob(name), [])
  const push = async (tag: string) => {
    const headers = { 'content-type': mediaTypes.image }
    const body = new Uint8Array(bytes)
    return (await fetch(`${registry.url}/v2/${name}/manifests/${tag}`, { method: 'PUT', headers, body })).status
  }
  proxy.plan = ({ operation, url }) => (operation === 'put' && url.includes('/_tags/v1/') ? 'error' : undefined)
  assert.equal(await push('v1'), 503)
  assert.equal(await push('v2'), 201)
  proxy.plan = () => undefined
  assert.equal(await push('v1'), 201)
  await registry.kill()
  await loseDatabase(registry)
  const { code } = await runFsck(t, target, { options: ['--rebuild'] })
  assert.equal(code, 0)
  await registry.start()
  assert.deepEqual(said((await client.get(`/v2/${name}/tags/list`)).body).tags, ['v1', 'v2'])
})

test('metadata is made again in PostgreSQL, too', async (t) => {
  if (!isMinioPresent(t) || !(await isPostgresPresent(t))) return
  const cluster = await startPostgres()
  t.after(async () => cluster.remove())
  const { registry, client, rootdirectory } = await startInBucket(t)
  await pushVariedStore(client, uniqueName('rebuild'))
  const before = await everything(client)
  await registry.stop()
  const config = join(dirname(registry.dataDirectory), 'postgres.yml')
  const s3 = { ...(await sharedMinio()).storage, rootdirectory }
  const database = { url: cluster.url('postgres') }
  await writeFile(
    config,
    JSON.stringify({
      version: '0.1',
      storage: { filesystem: { rootdirectory: registry.dataDirectory }, s3 },
      database,
    }),
  )
  await loseDatabase(registry)
  assert.equal((await runFsck(t, { config }, { options: ['--rebuild'] })).code, 0)
  const again = await startRegistry(t, { config: { storage: { s3, redirect: { disable: true } }, database } })
  assert.deepEqual(await everything(new RegistryClient(again.url)), before)
})
