import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { randomBlob, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { isMinioPresent, type MinioServer, startMinio } from '../minio-server.ts'
import { RegistryClient } from '../registry-client.ts'

let shared: Promise<MinioServer> | undefined
after(async () => (await shared)?.remove())
const server = async () => (shared ??= startMinio())

test('blobs in a bucket are pulled from it by URLs that hold for a while, as from CNCF distribution', async (t) => {
  if (!isMinioPresent(t)) return
  const { storage, port } = await server()
  const registry = await startRegistry(t, { config: { storage: { s3: { ...storage, rootdirectory: 'presigned' } } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const bytes = randomBlob(100_000)
  const { digest } = await client.pushBlob(name, bytes)
  const path = `/v2/${name}/blobs/${digest}`
  const led = await client.get(path)
  assert.deepEqual([led.status, led.header('cache-control')], [307, 'no-store'])
  const location = new URL(client.location(led))
  assert.equal(location.host, `127.0.0.1:${port}`)
  assert.equal(location.searchParams.get('X-Amz-Expires'), '1200')
  const range = await fetch(location, { headers: { range: 'bytes=10-19' } })
  assert.deepEqual([range.status, Buffer.from(await range.arrayBuffer())], [206, bytes.subarray(10, 20)])
  assert.equal((await fetch(new URL(location.pathname, location))).status, 403, 'the bucket is open to everybody')
  // Through any client that follows redirects it is an ordinary pull.
  assert.ok(Buffer.from(await (await fetch(registry.url + path)).arrayBuffer()).equals(bytes))
  assert.deepEqual((await client.head(path)).status, 200)
  const other = await client.get(`/v2/${uniqueName()}/blobs/${digest}`)
  assert.equal(other.status, 404, 'a digest alone is no right')
})

test('what serves the bucket is asked for the object that has the content', async (t) => {
  if (!isMinioPresent(t)) return
  const { storage, folder } = await server()
  const registry = await startRegistry(t, {
    config: {
      storage: { s3: { ...storage, rootdirectory: '/served/' } },
      middleware: { storage: [{ name: 'redirect', options: { baseurl: 'https://files.example.com' } }] },
    },
  })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  const { digest } = await client.pushBlob(name)
  const location = client.location(await client.get(`/v2/${name}/blobs/${digest}`))
  const [object] = await readdir(join(folder, 'served', 'objects'))
  assert.equal(location, `https://files.example.com/served/objects/${object}`)
})
