import assert from 'node:assert/strict'
import { readdir, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { type TestRegistry, type TestRegistryOptions, startRegistry, until } from '../harness.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { type Answer, RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { openRequest } from './slow-request.ts'

const AGE_MS = 1_500
const PATIENCE_MS = 10_000
const KIBIBYTE = 1024

test('abandoned uploads', { concurrency: 4 }, async (t) => {
  const registry = await startRegistry(t, purging({}))
  const client = new RegistryClient(registry.url)

  void t.test(
    'an upload that nothing is added to is gone after the age, with its bytes, and so is an empty one',
    async () => {
      const name = uniqueName('faults')
      const empty = await client.startUpload(name)
      const filled = client.location(await client.patchChunk(await client.startUpload(name), randomBlob()))
      for (const url of [empty, filled]) {
        let answer: Answer | undefined
        const isGone = async () => (answer = await client.get(url)).status === 404
        await until(isGone, PATIENCE_MS, () => `it is still there: ${answer && describe(answer)}`)
        assertRefused(await client.get(url), 404, 'BLOB_UPLOAD_UNKNOWN')
      }
      assert.ok(!(await files(registry)).includes(idOf(filled)), 'its bytes are still there')
    },
  )

  void t.test('bytes that a crash left without an upload are removed when they are old enough', async () => {
    const folder = join(registry.dataDirectory, 'uploads')
    const [old, young] = ['5f0e3a2c-0000-4000-8000-000000000001', '5f0e3a2c-0000-4000-8000-000000000002']
    const aMinuteAhead = new Date(Date.now() + 60_000)
    await writeFile(join(folder, young), randomBlob())
    await utimes(join(folder, young), aMinuteAhead, aMinuteAhead)
    await writeFile(join(folder, old), randomBlob())
    await until(
      async () => !(await files(registry)).includes(old),
      PATIENCE_MS,
      () => 'it is still there',
    )
    assert.ok((await files(registry)).includes(young), 'what is young was removed')
  })

  const ways = {
    'a chunk that takes longer than the age': async (name: string, bytes: Buffer) => {
      const url = await client.startUpload(name)
      const patched = openRequest('PATCH', url, { 'Content-Length': bytes.length })
      await sendSlowly(patched, bytes)
      assert.equal((await patched.answer).status, 202)
      return (await client.putBlob(url, digestOf(bytes))).status
    },
    'a closing request that takes longer than the age': async (name: string, bytes: Buffer) => {
      const url = new URL(await client.startUpload(name))
      url.searchParams.append('digest', digestOf(bytes))
      const closing = openRequest('PUT', url.href, { 'Content-Length': bytes.length })
      await sendSlowly(closing, bytes)
      return (await closing.answer).status
    },
    'a single POST that takes longer than the age': async (name: string, bytes: Buffer) => {
      const url = `${registry.url}/v2/${name}/blobs/uploads/?digest=${digestOf(bytes)}`
      const single = openRequest('POST', url, { 'Content-Length': bytes.length })
      await sendSlowly(single, bytes)
      return (await single.answer).status
    },
    'chunks that come before the age is over, one after the other': async (name: string, bytes: Buffer) => {
      let url = await client.startUpload(name)
      for (let start = 0; start < bytes.length; start += 64 * KIBIBYTE) {
        const chunk = bytes.subarray(start, start + 64 * KIBIBYTE)
        const request = openRequest('PATCH', url, { 'Content-Length': chunk.length })
        await request.drip(chunk, { pieceBytes: chunk.length, pauseMs: AGE_MS / 2 })
        assert.equal((await request.answer).status, 202)
        url = client.location(await client.get(url))
      }
      return (await client.putBlob(url, digestOf(bytes))).status
    },
  }
  for (const [way, push] of Object.entries(ways)) {
    void t.test(`an upload in use is not purged: ${way}`, async () => {
      const [name, bytes] = [uniqueName('faults'), randomBlob(320 * KIBIBYTE)]
      assert.equal(await push(name, bytes), 201)
      assertContent(await client.get(`/v2/${name}/blobs/${digestOf(bytes)}`), { bytes, digest: digestOf(bytes) })
    })
  }
})

test('with dryrun abandoned uploads are only named in the log', async (t) => {
  const registry = await startRegistry(t, purging({ dryrun: true }))
  const client = new RegistryClient(registry.url)
  const url = client.location(await client.patchChunk(await client.startUpload(uniqueName('faults')), randomBlob()))
  const isNamed = () =>
    registry.output().includes(idOf(url)) && registry.output().includes('removing an abandoned upload')
  await until(isNamed, PATIENCE_MS, () => registry.output())
  const answer = await client.get(url)
  assert.equal(answer.status, 204, describe(answer))
  assert.ok((await files(registry)).includes(idOf(url)))
})

function purging(options: Record<string, unknown>): TestRegistryOptions {
  const uploadpurging = { enabled: true, age: `${AGE_MS}ms`, interval: '200ms', ...options }
  return { config: { log: { accesslog: { disabled: true } }, storage: { maintenance: { uploadpurging } } } }
}

async function sendSlowly(request: ReturnType<typeof openRequest>, bytes: Buffer): Promise<void> {
  // The store writes nothing before it has a mebibyte: the file looks abandoned all the while.
  await request.drip(bytes, { pieceBytes: 80 * KIBIBYTE, pauseMs: AGE_MS * 0.6 })
}

async function files(registry: TestRegistry): Promise<string[]> {
  return readdir(join(registry.dataDirectory, 'uploads'))
}

function idOf(url: string): string {
  return basename(new URL(url).pathname)
}
