import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { imageDocument, mediaTypes, randomBlob } from '../content.ts'
import { freePort, startRegistry } from '../harness.ts'
import { isMinioPresent, type MinioServer, startMinio } from '../minio-server.ts'
import { assertContent, record, RegistryClient } from '../registry-client.ts'
import { startS3Proxy } from '../s3-proxy.ts'
import { entrepot, temporaryFolder } from './command.ts'
import { collectGarbage, emptyInstallation, folderOf } from './management-request.ts'

const MIB = 1024 * 1024

let shared: Promise<MinioServer> | undefined
const server = async () => (shared ??= startMinio())
after(async () => (await shared)?.remove())

/** A place for backups that nobody else uses, and the variables that lead to it. */
async function emptyPlace(port?: number): Promise<{ place: string; variables: Record<string, string> }> {
  const { storage } = await server()
  return {
    place: `s3://${storage.bucket}/${randomUUID()}`,
    variables: {
      AWS_ACCESS_KEY_ID: storage.accesskey,
      AWS_SECRET_ACCESS_KEY: storage.secretkey,
      AWS_ENDPOINT_URL_S3: port === undefined ? storage.regionendpoint : `http://127.0.0.1:${port}`,
    },
  }
}

async function runJson(args: readonly string[], env: Record<string, string>): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await entrepot([...args, '--json'], { env })
  assert.equal(code, 0, stdout + stderr)
  return record(JSON.parse(stdout))
}

/** Restores what a place has, and starts a registry on it. */
async function restoreFrom(t: TestContext, args: readonly string[], variables: Record<string, string>) {
  const { folder, env } = await emptyInstallation(t)
  const { findings } = await runJson(['restore', ...args], { ...env, ...variables })
  assert.deepEqual(findings, [])
  const registry = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: folder } } } })
  return new RegistryClient(registry.url)
}

/** Pushes an image of some layers as `team/app:v1`. */
async function pushLayers(client: RegistryClient, layers: readonly Buffer[]) {
  const config = await client.pushBlob('team/app')
  const pushed = []
  for (const layer of layers) pushed.push(await client.pushBlob('team/app', layer))
  const bytes = imageDocument(config, pushed)
  return { bytes, descriptor: await client.pushManifest('team/app', bytes, mediaTypes.image, { reference: 'v1' }) }
}

test('backups in a bucket share their content, are listed, restored and removed as in a folder', async (t) => {
  if (!isMinioPresent(t)) return
  const maintenance = { trash: { age: '0s' }, garbagecollection: { age: '0s', interval: '1h' } }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  const client = new RegistryClient(registry.url)
  const { place, variables } = await emptyPlace()
  const env = { ...folderOf(registry), ...variables }
  const first = await pushLayers(client, [randomBlob(20 * MIB), Buffer.alloc(0)])
  assert.partialDeepStrictEqual(await runJson(['backup', place], env), { counts: { copied: 4, present: 0 } })
  await client.delete(`/v2/team/app/manifests/${first.descriptor.digest}`)
  await collectGarbage(registry)
  const second = await client.pushImage('team/app', { reference: 'v1' })
  assert.partialDeepStrictEqual(await runJson(['backup', place], env), { counts: { copied: 3, present: 0 } })
  const { backups } = await runJson(['backup', '--list', place], variables)
  assert.ok(Array.isArray(backups) && backups.length === 2)
  assert.partialDeepStrictEqual(backups[1], { contents: 4, missing: 0 })

  const { id } = record(backups[1])
  const old = await restoreFrom(t, ['--backup', String(id), place], variables)
  assertContent(await old.get('/v2/team/app/manifests/v1'), { bytes: first.bytes, ...first.descriptor })
  const { layers } = record(JSON.parse(first.bytes.toString()))
  assert.ok(Array.isArray(layers))
  for (const layer of layers) {
    const { digest, size } = record(layer)
    assert.equal((await old.get(`/v2/team/app/blobs/${String(digest)}`)).body.length, size)
  }

  const kept = await runJson(['backup', place, '--keep', '1'], env)
  assert.partialDeepStrictEqual(kept, { counts: { copied: 0, present: 3 } })
  const left = await restoreFrom(t, [place], variables)
  assertContent(await left.get('/v2/team/app/manifests/v1'), { bytes: second.bytes, ...second.descriptor })
  const { storage } = await server()
  const kinds = new Map<string, number>()
  for (const key of await keysIn(place.slice(`s3://${storage.bucket}/`.length))) {
    const kind = key.split('/')[0] ?? ''
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  assert.deepEqual(Object.fromEntries(kinds), { backups: 2, blobs: 3 })
})

/** What there is below a prefix, as MinIO keeps it on its disk: a folder for each object. */
async function keysIn(prefix: string): Promise<string[]> {
  const { folder } = await server()
  const files = await readdir(join(folder, prefix), { recursive: true })
  return files.filter((file) => file.endsWith('/xl.meta')).map((file) => file.slice(0, -'/xl.meta'.length))
}

test('a bucket that cannot be used is refused within 10 seconds, with what to do, and no secret is shown', async (t) => {
  if (!isMinioPresent(t)) return
  const registry = await startRegistry(t)
  await new RegistryClient(registry.url).pushImage('team/app')
  const { place, variables } = await emptyPlace()
  const nobody = `http://127.0.0.1:${await freePort()}`
  const { AWS_ENDPOINT_URL_S3: _endpoint, ...regionless } = variables
  const keyless = { AWS_ENDPOINT_URL_S3: variables['AWS_ENDPOINT_URL_S3'] ?? '', AWS_EC2_METADATA_DISABLED: 'true' }
  const cases: [string, Record<string, string>, RegExp][] = [
    [
      's3://absent/x',
      variables,
      /the bucket "absent" at http.*there is no such bucket: create it, or correct its name/,
    ],
    [place, { ...variables, AWS_ACCESS_KEY_ID: 'nobody' }, /does not know the access key: correct AWS_ACCESS_KEY_ID/],
    [
      place,
      { ...variables, AWS_SECRET_ACCESS_KEY: 'canary-2c' },
      /secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY/,
    ],
    [
      place,
      { ...variables, AWS_ENDPOINT_URL_S3: nobody },
      /nothing answers there: start the store, or correct AWS_ENDPOINT_URL_S3/,
    ],
    [place, { ...keyless, HOME: await temporaryFolder(t) }, /there are no credentials: set AWS_ACCESS_KEY_ID and/],
    [place, regionless, /the region of the bucket is not known: set AWS_REGION/],
    ['s3://', variables, /names no bucket: write it as s3:\/\/<bucket>\/<prefix>/],
  ]
  const { env: empty } = await emptyInstallation(t)
  for (const [target, env, message] of cases) {
    for (const [args, own] of [
      [['backup', target], folderOf(registry)],
      [['backup', '--list', target], {}],
      [['restore', target], empty],
    ] as const) {
      const start = performance.now()
      const { code, stdout, stderr } = await entrepot(args, { env: { ...own, ...env } })
      assert.equal(code, 1, `${args.join(' ')}: ${stdout}${stderr}`)
      assert.match(stderr, message)
      assert.ok(performance.now() - start < 10_000, `it took ${performance.now() - start} ms`)
      assert.doesNotMatch(`${stdout}${stderr}${registry.output()}`, /canary|entrepot-test-secret/, 'a secret is shown')
    }
  }
  const { code, stderr } = await entrepot(['restore', place], { env: { ...empty, ...variables } })
  assert.deepEqual([code, /there is no backup in the bucket/.test(stderr)], [1, true], stderr)
})

test('two backups do not write to one place at once, and one that follows waits for nobody', async (t) => {
  if (!isMinioPresent(t)) return
  const { storage, port } = await server()
  const proxy = await startS3Proxy(t, port)
  const [slow, quick] = [await startRegistry(t), await startRegistry(t)]
  for (const { url } of [slow, quick]) await new RegistryClient(url).pushImage('team/app')
  const { place, variables } = await emptyPlace()
  assert.ok(storage.bucket)
  proxy.plan = ({ operation, url }) => (operation === 'put' && url.includes('/blobs/') ? 'stall' : undefined)
  const held = entrepot(['backup', place], {
    env: { ...folderOf(slow), ...variables, AWS_ENDPOINT_URL_S3: proxy.url },
    timeoutMs: 90_000,
  })
  while (!proxy.requests.some(({ url }) => url.includes('/blobs/'))) await new Promise(setImmediate)
  const env = { ...folderOf(quick), ...variables }
  const refused = await entrepot(['backup', place], { env })
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /another backup is being written to the bucket .*: wait for its end/)
  proxy.plan = () => undefined
  const { code, stderr } = await held
  assert.equal(code, 0, stderr)
  assert.equal((await entrepot(['backup', place], { env })).code, 0)
})

test('metadata that rots in a backup is not restored, and takes no content with it', async (t) => {
  const registry = await startRegistry(t)
  await new RegistryClient(registry.url).pushImage('team/app')
  const backups = join(await temporaryFolder(t), 'backups')
  const env = folderOf(registry)
  assert.equal((await entrepot(['backup', backups], { env })).code, 0)
  const [id = ''] = await readdir(join(backups, 'backups'))
  const file = join(backups, 'backups', id, 'entrepot.db')
  const bytes = await readFile(file)
  await writeFile(file, bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1))
  const { env: empty } = await emptyInstallation(t)
  for (const outcome of [
    await entrepot(['restore', backups], { env: empty }),
    await entrepot(['backup', '--keep', '2', backups], { env }),
  ]) {
    assert.equal(outcome.code, 1)
    assert.match(outcome.stderr, new RegExp(`the metadata of the backup ${id} is damaged: take another one`))
  }
})
