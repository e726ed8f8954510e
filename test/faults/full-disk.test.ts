import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type TestRegistry, startRegistry, until } from '../harness.ts'
import { type Descriptor, digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { entrepot, temporaryFolder, writeConfig } from '../operations/command.ts'
import { Random } from '../random.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { type SmallDisk, withSmallDisk } from './small-disk.ts'
import { byTier } from './tier.ts'

const MEBIBYTE = 1024 * 1024
const PATIENCE_MS = 20_000
/** How soon pushes must go on when there is room again. */
const RECOVERY_MS = 5_000
/** So few that the log of the database has not begun anew: each deletion needs room. */
const TAGS = 10
const FILLING_COUNT = byTier({ quick: 3, ci: 21, release: 201 })

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

test('when not even the metadata fits, every push gets 507, is undone as a whole, and succeeds when there is room', async (t) => {
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

test('on a disk that is full to the last block tags, manifests and blobs are deleted and garbage is collected, while pushes wait for room', async (t) => {
  await withRegistry(t, async ({ registry, client, disk, collect }) => {
    const name = uniqueName('faults')
    const image = await client.pushImage(name, { reference: 'kept' })
    for (let count = 0; count < TAGS; count += 1) await client.pushImage(name, { reference: `tag-${count}` })
    const blob = await client.pushBlob(name, randomBlob(MEBIBYTE))
    const upload = await client.startUpload(name)
    await untilReserved(client)

    disk.fill()
    for (let count = 0; count < TAGS; count += 1) await deleteFrom(client, `${name}/manifests/tag-${count}`)
    await deleteFrom(client, `${name}/blobs/${blob.digest}`)
    await collect()
    assert.equal(await isSpent(client), true)
    assert.ok(
      registry.output().includes('the disk is full: its reserve is used for deletions'),
      'the log does not say so',
    )

    const freeBytes = await disk.freeBytes()
    await assertStorageFull(await fetch(upload, { method: 'PATCH', body: toBody(randomBlob(MEBIBYTE)) }))
    const refused = randomBlob(MEBIBYTE)
    const url = `${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf(refused)}`
    await assertStorageFull(await fetch(url, { method: 'POST', body: toBody(refused) }))
    assert.equal(await disk.freeBytes(), freeBytes, 'a push has taken room that is for deletions')
    assertContent(await client.get(`/v2/${name}/manifests/kept`), {
      bytes: image.bytes,
      digest: image.descriptor.digest,
    })

    await registry.kill()
    await registry.start()
    const restarted = new RegistryClient(registry.url)
    assert.equal(await isSpent(restarted), true, 'a restart forgets that it is used up')
    await assertStorageFull(await fetch(upload, { method: 'PATCH', body: toBody(randomBlob(MEBIBYTE)) }))
    await disk.free()
    await untilPushed(registry, name)
    assert.equal(await isSpent(restarted), false)
    assert.equal((await restarted.get('/readyz')).status, 200)
    assertRefused(await restarted.get(`/v2/${name}/blobs/${blob.digest}`), 404)
  })
})

test('a server that was stopped starts on a disk that is full to the last block, and deletes there', async (t) => {
  await withRegistry(t, async ({ registry, client, disk, collect }) => {
    const name = uniqueName('faults')
    const image = await client.pushImage(name, { reference: 'kept' })
    await client.pushImage(name, { reference: 'gone' })
    await untilReserved(client)
    await registry.stop()
    disk.fill()
    await registry.start()
    const restarted = new RegistryClient(registry.url)
    assertContent(await restarted.get(`/v2/${name}/manifests/kept`), {
      bytes: image.bytes,
      digest: image.descriptor.digest,
    })
    await deleteFrom(restarted, `${name}/manifests/gone`)
    await collect()
    await disk.free()
    await untilPushed(registry, name)
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

type Filling = 'content' | 'metadata' | 'both'
const FILLINGS: readonly Filling[] = ['content', 'metadata', 'both']

test('a disk that fills again and again, of content, of metadata or of both, loses nothing, and room is made on it', async (t) => {
  const random = new Random(String(faultSeed(t)))
  await withRegistry(t, async (it) => {
    const { registry, client, disk, collect } = it
    const name = uniqueName('faults')
    const kept = await Promise.all(['a', 'b', 'c'].map(async (tag) => client.pushImage(name, { reference: tag })))
    await untilReserved(client)
    const freeBytes = await disk.freeBytes()
    for (let round = 0; round < FILLING_COUNT; round += 1) {
      const filling = FILLINGS[round % FILLINGS.length] ?? 'both'
      await fillAndMakeRoom(it, { name, filling, random, kept }).catch((error: unknown) => {
        throw new Error(`filling ${round + 1}, of ${filling}`, { cause: error })
      })
    }
    await collect()
    const missingBytes = freeBytes - (await disk.freeBytes())
    assert.ok(missingBytes < 8 * MEBIBYTE, `what was deleted or refused still takes ${missingBytes} bytes`)
    await registry.stop()
    await expectSound(t, disk.folder)
  })
})

/** Fills the disk, reads everything, deletes on it, and waits until pushes go on. */
async function fillAndMakeRoom(
  it: Running,
  plan: FillingPlan & { kept: readonly { bytes: Buffer; descriptor: Descriptor }[] },
): Promise<void> {
  const { registry, client, disk, collect } = it
  const { name, filling, kept } = plan
  const victim = await client.pushImage(name, { reference: 'victim' })
  const orphan = await client.pushBlob(name)
  const pushed = await fill(it, plan)

  for (const { bytes, descriptor } of kept) {
    const { digest } = descriptor
    assertContent(await client.get(`/v2/${name}/manifests/${digest}`), { bytes, digest })
  }
  for (const digest of pushed) assert.equal((await client.head(`/v2/${name}/blobs/${digest}`)).status, 200)
  await deleteFrom(client, `${name}/manifests/victim`)
  await deleteFrom(client, `${name}/manifests/${victim.descriptor.digest}`)
  await deleteFrom(client, `${name}/blobs/${orphan.digest}`)
  await collect()
  for (const digest of pushed) await deleteFrom(client, `${name}/blobs/${digest}`)
  await collect()
  if (filling !== 'content') await disk.free()
  await deleteFrom(client, `${name}/blobs/${await untilPushed(registry, name)}`)
}

interface FillingPlan {
  readonly name: string
  readonly filling: Filling
  readonly random: Random
}

/**
 * Fills the disk: with blobs until not even a small one fits, with a file until not a block is left, or with both at
 * once. Gives the blobs that were acknowledged.
 */
async function fill({ registry, disk }: Running, plan: FillingPlan): Promise<string[]> {
  const { name, filling, random } = plan
  const pushed: string[] = []
  if (filling === 'metadata') disk.fill()
  if (filling === 'content') {
    for (const size of [4 * MEBIBYTE, 256 * 1024, 4 * 1024]) await pushUntilFull(registry, name, { size, pushed })
  }
  if (filling === 'both') {
    const moment = random.between(0, 20)
    const pushers = [1, 2, 3].map(async (pusher) =>
      pushUntilFull(registry, name, { size: pusher * random.size(64 * 1024, MEBIBYTE), pushed }),
    )
    await until(
      () => pushed.length >= moment,
      PATIENCE_MS,
      () => 'nothing is pushed',
    )
    disk.fill()
    await Promise.all(pushers)
    // What a refused push gives back.
    disk.fill()
  }
  return pushed
}

interface Running {
  readonly registry: TestRegistry
  readonly client: RegistryClient
  readonly disk: SmallDisk
  /** Lets the command collect garbage; it must come to its end. */
  readonly collect: () => Promise<void>
}

/** Starts a registry whose data folder is a small disk; its reserve is the default. */
async function withRegistry(t: TestContext, work: (it: Running) => Promise<void>): Promise<void> {
  await withSmallDisk(t, async (disk) => {
    // A test of its own, so that the registry has ended when the disk is taken away.
    await t.test('on a disk of 64 MiB', async (t) => {
      const storage = { filesystem: { rootdirectory: disk.folder }, maintenance: { reserve: 32 * MEBIBYTE } }
      const registry = await startRegistry(t, { config: { storage } })
      const file = await writeConfig(await temporaryFolder(t), JSON.stringify({ version: '0.1', storage }))
      const collect = async () => {
        const { code, stdout, stderr } = await entrepot(['gc', '--now', file])
        assert.equal(code, 0, stdout + stderr)
      }
      await work({ registry, client: new RegistryClient(registry.url), disk, collect })
    })
  })
}

/** Pushes blobs until one is refused because the disk is full, and gives that one; `pushed` gets the digests of the others. */
async function pushUntilFull(
  registry: TestRegistry,
  name: string,
  { size = 4 * MEBIBYTE, pushed = [] }: { size?: number; pushed?: string[] } = {},
): Promise<Buffer> {
  for (let sum = 0; sum < 64 * MEBIBYTE; sum += size) {
    const blob = randomBlob(size)
    const answer = await pushBlob(registry, name, blob)
    if (answer.status !== 201) {
      await assertStorageFull(answer)
      return blob
    }
    pushed.push(digestOf(blob))
  }
  throw new Error('64 MiB fit on a disk of 64 MiB')
}

async function pushBlob(registry: TestRegistry, name: string, blob: Buffer): Promise<Response> {
  const url = `${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf(blob)}`
  return fetch(url, { method: 'POST', body: toBody(blob) })
}

/** Waits until a push succeeds, which it must soon after there is room again; gives the digest of the blob. */
async function untilPushed(registry: TestRegistry, name: string): Promise<string> {
  const blob = randomBlob(MEBIBYTE)
  let status = 0
  await until(
    async () => {
      const answer = await pushBlob(registry, name, blob)
      ;({ status } = answer)
      await answer.arrayBuffer()
      return status === 201
    },
    RECOVERY_MS,
    () => `there is room, and pushes still get ${status}`,
  )
  return digestOf(blob)
}

/** Waits for the reserve, which a server makes while it begins to answer. */
async function untilReserved(client: RegistryClient): Promise<void> {
  await until(
    async () => /^entrepot_reserve_bytes [1-9]/m.test(await metricsOf(client)),
    PATIENCE_MS,
    () => 'there is no reserve',
  )
}

async function metricsOf(client: RegistryClient): Promise<string> {
  return (await client.get('/metrics')).body.toString()
}

async function isSpent(client: RegistryClient): Promise<boolean> {
  return /^entrepot_reserve_spent 1$/m.test(await metricsOf(client))
}

async function deleteFrom(client: RegistryClient, path: string): Promise<void> {
  const answer = await client.delete(`/v2/${path}`)
  assert.equal(answer.status, 202, describe(answer))
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
