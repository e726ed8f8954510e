import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { type TestRegistry, startRegistry } from '../harness.ts'
import { digestOf, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { openDownload } from './slow-request.ts'

const MEBIBYTE = 1024 * 1024

const DAMAGES = {
  truncated: async (file: string) => truncate(file, 100),
  emptied: async (file: string) => truncate(file, 0),
  'made longer': async (file: string) => writeFile(file, 'more', { flag: 'a' }),
  missing: async (file: string) => rm(file),
}

test('damaged storage', { concurrency: 2 }, async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)

  for (const [damage, apply] of Object.entries(DAMAGES)) {
    void t.test(`a blob whose file is ${damage} is not found, and is healed by pushing it again`, async () => {
      const [name, bytes] = [uniqueName('faults'), randomBlob(100_000)]
      const { digest } = await client.pushBlob(name, bytes)
      await apply(fileOf(registry, digest))
      const url = `/v2/${name}/blobs/${digest}`
      assertRefused(await client.get(url), 404, 'BLOB_UNKNOWN')
      assertRefused(await client.get(url, { Range: 'bytes=0-9' }), 404, 'BLOB_UNKNOWN')
      assertRefused(await client.head(url), 404)
      const mount = `/v2/${uniqueName('faults')}/blobs/uploads/?mount=${digest}&from=${name}`
      assert.equal((await client.post(mount)).status, 202, 'what is damaged cannot be mounted')

      await client.pushBlob(name, bytes)
      assertContent(await client.get(url), { bytes, digest })
    })

    void t.test(`a manifest whose file is ${damage} is not found, and is healed by pushing it again`, async () => {
      const name = uniqueName('faults')
      const { bytes, descriptor } = await client.pushImage(name, { reference: 'damaged' })
      await apply(fileOf(registry, descriptor.digest))
      await assertManifestHeals(client, name, bytes)
    })
  }

  void t.test('a manifest in which a bit has flipped is not served, and is healed by pushing it again', async () => {
    const name = uniqueName('faults')
    const { bytes, descriptor } = await client.pushImage(name, { reference: 'damaged' })
    await flipBit(fileOf(registry, descriptor.digest))
    await assertManifestHeals(client, name, bytes)
  })

  void t.test('a manifest that was served before its file was damaged is served right or not at all', async () => {
    const name = uniqueName('faults')
    const { bytes, descriptor } = await client.pushImage(name, { reference: 'damaged' })
    const url = `/v2/${name}/manifests/damaged`
    assertContent(await client.get(url), { bytes, digest: descriptor.digest })
    await flipBit(fileOf(registry, descriptor.digest))
    const answer = await client.get(url)
    if (answer.status === 200) assertContent(answer, { bytes, digest: descriptor.digest })
    else assertRefused(answer, 404)
  })

  void t.test(
    'a blob that is truncated while it is sent is cut off, so that nobody takes the part for the whole',
    async () => {
      const name = uniqueName('faults')
      const { digest } = await client.pushBlob(name, randomBlob(64 * MEBIBYTE))
      const download = await openDownload(`${registry.url}/v2/${name}/blobs/${digest}`)
      await once(download, 'readable')
      await truncate(fileOf(registry, digest), 32 * MEBIBYTE)
      await assert.rejects(buffer(download))
    },
  )
})

test('storage.maintenance.readonly refuses every change with 405 and serves what is there', async (t) => {
  const config = { storage: { maintenance: { readonly: { enabled: true } } } }
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'kept' })
  const upload = client.location(await client.patchChunk(await client.startUpload(name), randomBlob()))
  await registry.stop()

  const frozen = await startRegistry(t, {
    config: { ...config, storage: { ...config.storage, filesystem: { rootdirectory: registry.dataDirectory } } },
  })
  const reader = new RegistryClient(frozen.url)
  const path = new URL(upload).pathname
  const blob = randomBlob()
  const refusals = [
    await reader.post(`/v2/${name}/blobs/uploads/`),
    await reader.post(`/v2/${name}/blobs/uploads/?digest=${digestOf(blob)}`, { body: blob }),
    await reader.post(`/v2/${uniqueName('faults')}/blobs/uploads/?mount=${descriptor.digest}&from=${name}`),
    await reader.patchChunk(path, blob),
    await reader.request('PUT', `${path}?digest=${digestOf(blob)}`, { body: blob }),
    await reader.delete(path),
    await reader.putManifest(name, 'changed', bytes, mediaTypes.image),
    await reader.delete(`/v2/${name}/manifests/kept`),
    await reader.delete(`/v2/${name}/manifests/${descriptor.digest}`),
    await reader.delete(`/v2/${name}/blobs/${descriptor.digest}`),
  ]
  for (const answer of refusals) assertRefused(answer, 405, 'UNSUPPORTED')
  assertContent(await reader.get(`/v2/${name}/manifests/kept`), { bytes, digest: descriptor.digest })
  const tags = await reader.get(`/v2/${name}/tags/list`)
  assert.deepEqual(tags.json(), { name, tags: ['kept'] }, describe(tags))
})

/** Asserts that a tagged manifest is unknown, by its digest too, until it is pushed again. */
async function assertManifestHeals(client: RegistryClient, name: string, bytes: Buffer): Promise<void> {
  const digest = digestOf(bytes)
  for (const reference of ['damaged', digest]) {
    assertRefused(await client.get(`/v2/${name}/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN')
    assertRefused(await client.head(`/v2/${name}/manifests/${reference}`), 404)
  }
  await client.pushManifest(name, bytes, mediaTypes.image)
  assertContent(await client.get(`/v2/${name}/manifests/damaged`), { bytes, digest })
}

function fileOf(registry: TestRegistry, digest: string): string {
  const hex = digest.slice('sha256:'.length)
  return join(registry.dataDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex)
}

async function flipBit(file: string): Promise<void> {
  const bytes = await readFile(file)
  const middle = Math.floor(bytes.length / 2)
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle)
  await writeFile(file, bytes)
}
