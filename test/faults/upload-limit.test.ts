import assert from 'node:assert/strict'
import { readdir, readlink, utimes } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { assertRefused, describe, RegistryClient } from '../registry-client.ts'
import { openRequest } from './slow-request.ts'

const MINUTE_MS = 60_000
const PATIENCE_MS = 10_000

test('when too many uploads are open the one that is idle for the longest time gives way', async (t) => {
  const { registry, client, name } = await limitedTo(t, 3)
  const [first, longest, last] = [await begin(client, name), await begin(client, name), await begin(client, name)]
  await setIdle(registry, first, 20 * MINUTE_MS)
  await setIdle(registry, longest, 30 * MINUTE_MS)
  await setIdle(registry, last, 5 * MINUTE_MS)

  await client.startUpload(uniqueName('faults'))
  assertRefused(await client.get(longest), 404, 'BLOB_UPLOAD_UNKNOWN')
  assert.ok(!(await readdir(join(registry.dataDirectory, 'uploads'))).includes(idOf(longest)), 'its bytes are there')
  assert.equal((await client.get(first)).status, 204)
  await client.startUpload(name)
  assertRefused(await client.get(first), 404, 'BLOB_UPLOAD_UNKNOWN')
  await assertNoRoom(client, name)
  assert.equal((await client.get(last)).status, 204, 'it was used a few minutes ago')
})

test('an upload that was begun long ago and never written to gives way too', async (t) => {
  const { registry, client, name } = await limitedTo(t, 1)
  const abandoned = await client.startUpload(name)
  await assertNoRoom(client, name)
  await registry.stop()
  const database = new DatabaseSync(join(registry.dataDirectory, 'entrepot.db'))
  database.prepare('update uploads set created_at = created_at - ?').run(11 * MINUTE_MS)
  database.close()
  await registry.start()
  await client.startUpload(name)
  assertRefused(await client.get(abandoned), 404, 'BLOB_UPLOAD_UNKNOWN')
})

test('an upload that is being written to does not give way, however long that takes', async (t) => {
  const { registry, client, name } = await limitedTo(t, 1)
  const bytes = randomBlob(2_000)
  const url = await begin(client, name, bytes.subarray(0, 1_000))
  const patch = openRequest('PATCH', url, { 'Content-Length': 1_000 })
  await patch.write(bytes.subarray(1_000, 1_500))
  await until(
    async () => (await openFiles(registry)).some((file) => basename(file) === idOf(url)),
    PATIENCE_MS,
    () => 'the server does not write to the upload',
  )
  await setIdle(registry, url, 30 * MINUTE_MS)
  await assertNoRoom(client, name)
  await patch.write(bytes.subarray(1_500))
  patch.end()
  const answer = await patch.answer
  assert.equal(answer.status, 202, answer.body.toString())
  const closed = await client.putBlob(url, digestOf(bytes))
  assert.equal(closed.status, 201, describe(closed))
})

async function limitedTo(t: TestContext, uploads: number) {
  const registry = await startRegistry(t, { config: { limits: { uploads } } })
  return { registry, client: new RegistryClient(registry.url), name: uniqueName('faults') }
}

/** Begins an upload and sends its first bytes. */
async function begin(client: RegistryClient, name: string, bytes: Buffer = randomBlob()): Promise<string> {
  return client.location(await client.patchChunk(await client.startUpload(name), bytes))
}

/** Makes it look as if the last byte had come some time ago. */
async function setIdle(registry: TestRegistry, url: string, idleMs: number): Promise<void> {
  const time = new Date(Date.now() - idleMs)
  await utimes(join(registry.dataDirectory, 'uploads', idOf(url)), time, time)
}

async function assertNoRoom(client: RegistryClient, name: string): Promise<void> {
  const answer = await client.post(`/v2/${name}/blobs/uploads/`)
  assertRefused(answer, 429, 'TOOMANYREQUESTS')
  assert.match(answer.header('retry-after') ?? '', /^\d+$/)
}

async function openFiles(registry: TestRegistry): Promise<string[]> {
  const folder = `/proc/${registry.pid()}/fd`
  return Promise.all((await readdir(folder)).map(async (fd) => readlink(join(folder, fd)).catch(() => '')))
}

function idOf(url: string): string {
  return basename(new URL(url).pathname)
}
