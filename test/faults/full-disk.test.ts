import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type TestRegistry, startRegistry } from '../harness.ts'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { type SmallDisk, withSmallDisk } from './small-disk.ts'

const MEBIBYTE = 1024 * 1024

test('pushes to a disk that fills get 507 and leave nothing, pulls go on, and a cancelled upload makes room again', async (t) => {
  await withRegistry(t, async ({ registry, client, disk }) => {
    const name = uniqueName('faults')
    const image = await client.pushImage(name, { reference: 'kept' })
    const held = client.location(await client.patchChunk(await client.startUpload(name), randomBlob(18 * MEBIBYTE)))
    const chunk = randomBlob(8 * MEBIBYTE)
    const interrupted = client.location(await client.patchChunk(await client.startUpload(name), chunk))

    const blob = await pushUntilFull(registry, name)
    await assertStorageFull(await fetch(interrupted, { method: 'PATCH', body: toBody(chunk) }))
    const status = await client.get(interrupted)
    assert.equal(status.status, 204, describe(status))
    assert.equal(status.header('range'), `0-${chunk.length - 1}`, 'the upload is as it was before the chunk')
    const uploads = await readdir(join(disk.folder, 'uploads'))
    assert.equal(uploads.length, 2, 'only what is open is left')
    assertRefused(await client.get(`/v2/${name}/blobs/${digestOf(blob)}`), 404)
    assertContent(await client.get(`/v2/${name}/manifests/kept`), {
      bytes: image.bytes,
      digest: image.descriptor.digest,
    })
    assert.equal((await client.get('/healthz')).status, 200)

    const freeBytes = await disk.freeBytes()
    assert.equal((await client.delete(held)).status, 204)
    assert.ok((await disk.freeBytes()) - freeBytes > 17 * MEBIBYTE, 'the bytes of a cancelled upload are free')
    const sizeBytes = 2 * chunk.length
    const rest = await client.patchChunk(interrupted, chunk, `${chunk.length}-${sizeBytes - 1}`)
    assert.equal(rest.status, 202, describe(rest))
    const doubled = Buffer.concat([chunk, chunk])
    const closed = await client.putBlob(client.location(rest), digestOf(doubled))
    assert.equal(closed.status, 201, describe(closed))
    await client.pushImage(name, { reference: 'after' })
  })
})

test('when not even the metadata fits, every change gets 507, is undone as a whole, and succeeds when there is room', async (t) => {
  await withRegistry(t, async ({ registry, client, disk }) => {
    const name = uniqueName('faults')
    const image = await client.pushImage(name, { reference: 'kept' })
    const [first, second] = blobsOfOneFolder()
    await client.pushBlob(name, first)
    const config = await client.pushBlob(name)
    const upload = client.location(await client.patchChunk(await client.startUpload(name), second))
    const manifest = imageDocument(config, [])

    disk.fill()
    const closing = new URL(upload)
    closing.searchParams.append('digest', digestOf(second))
    const changes: [string, string, Buffer?][] = [
      ['POST', `${registry.url}/v2/${name}/blobs/uploads/`],
      ['PUT', `${registry.url}/v2/${name}/manifests/new`, manifest],
      ['DELETE', `${registry.url}/v2/${name}/manifests/kept`],
      ['PUT', closing.href],
      ['PUT', closing.href],
    ]
    for (const [method, url, body] of changes) {
      const headers = { 'Content-Type': mediaTypes.image }
      await assertStorageFull(await fetch(url, { method, headers, ...(body && { body: toBody(body) }) }))
    }
    assertRefused(await client.get(`/v2/${name}/blobs/${digestOf(second)}`), 404)
    const tags = await client.get(`/v2/${name}/tags/list`)
    assert.deepEqual(tags.json(), { name, tags: ['kept'] }, describe(tags))
    assertContent(await client.get(`/v2/${name}/manifests/kept`), {
      bytes: image.bytes,
      digest: image.descriptor.digest,
    })

    await disk.free()
    const closed = await client.request('PUT', closing.href)
    assert.equal(closed.status, 201, describe(closed))
    assertContent(await client.get(`/v2/${name}/blobs/${digestOf(second)}`), {
      bytes: second,
      digest: digestOf(second),
    })
    await client.pushManifest(name, manifest, mediaTypes.image, { reference: 'new' })
    assert.equal((await client.delete(`/v2/${name}/manifests/kept`)).status, 202)

    await registry.kill()
    disk.fill()
    await registry.start()
    const reader = new RegistryClient(registry.url)
    assertContent(await reader.get(`/v2/${name}/manifests/new`), { bytes: manifest, digest: digestOf(manifest) })
    assertRefused(await reader.get(`/v2/${name}/manifests/kept`), 404)
  })
})

test('an upload can be cancelled when the disk is full to the last block', async (t) => {
  await withRegistry(t, async ({ client, disk }) => {
    const name = uniqueName('faults')
    const upload = client.location(await client.patchChunk(await client.startUpload(name), randomBlob(MEBIBYTE)))
    disk.fill()
    const answer = await client.delete(upload)
    assert.equal(answer.status, 204, describe(answer))
    assertRefused(await client.get(upload), 404, 'BLOB_UPLOAD_UNKNOWN')
    await client.startUpload(name)
  })
})

/** Starts a registry whose data folder is a small disk. */
async function withRegistry(
  t: TestContext,
  work: (it: { registry: TestRegistry; client: RegistryClient; disk: SmallDisk }) => Promise<void>,
): Promise<void> {
  await withSmallDisk(t, async (disk) => {
    // A test of its own, so that the registry has ended when the disk is taken away.
    await t.test('on a disk of 64 MiB', async (t) => {
      const registry = await startRegistry(t, {
        config: { storage: { filesystem: { rootdirectory: disk.folder } } },
      })
      await work({ registry, client: new RegistryClient(registry.url), disk })
    })
  })
}

/** Pushes blobs until one is refused because the disk is full, and gives that one. */
async function pushUntilFull(registry: TestRegistry, name: string): Promise<Buffer> {
  for (let pushed = 0; pushed < 64; pushed += 4) {
    const blob = randomBlob(4 * MEBIBYTE)
    const url = `${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf(blob)}`
    const answer = await fetch(url, { method: 'POST', body: toBody(blob) })
    if (answer.status === 201) continue
    await assertStorageFull(answer)
    return blob
  }
  throw new Error('64 MiB fit on a disk of 64 MiB')
}

async function assertStorageFull(answer: Response): Promise<void> {
  const text = await answer.text()
  assert.equal(answer.status, 507, text)
  assert.match(text, /"code":"UNAVAILABLE".*storage is full/)
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
}

/** Two blobs that are kept in the same folder: the second needs no new one, so that only the metadata lacks room. */
function blobsOfOneFolder(): [Buffer, Buffer] {
  const first = randomBlob()
  const folder = digestOf(first).slice(0, 'sha256:00'.length)
  for (;;) {
    const second = randomBlob()
    if (digestOf(second).startsWith(folder)) return [first, second]
  }
}

function toBody(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
