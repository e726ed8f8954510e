import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { residentBytes } from '../fuzz/disk.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { isMinioPresent, startMinio } from '../minio-server.ts'
import { RegistryClient } from '../registry-client.ts'

const MIB = 1024 * 1024
const TRANSFERS = 8
const SIZE_BYTES = 100 * MIB
const MAX_BYTES_PER_TRANSFER = 32 * MIB

/** Starts a registry on a bucket of its own. */
async function startOnBucket(t: TestContext): Promise<TestRegistry> {
  const minio = await startMinio()
  t.after(async () => minio.remove())
  const storage = { s3: { ...minio.storage, rootdirectory: randomUUID() }, redirect: { disable: true } }
  return startRegistry(t, { config: { storage } })
}

/** Runs transfers all at once, and asserts how much memory each of them has taken at most. */
async function assertModest(t: TestContext, registry: TestRegistry, transfers: () => Promise<unknown>[]) {
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  // What the first request of each kind takes is not counted.
  const small = await client.pushBlob(name, randomBlob(300_000))
  assert.equal((await client.get(`/v2/${name}/blobs/${small.digest}`)).status, 200)
  const atRest = await residentBytes(registry.pid())
  const state = { isOver: false, peakBytes: 0 }
  const watching = (async () => {
    while (!state.isOver) {
      state.peakBytes = Math.max(state.peakBytes, await residentBytes(registry.pid()))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  await Promise.all(transfers())
  state.isOver = true
  await watching
  const each = (state.peakBytes - atRest) / TRANSFERS
  t.diagnostic(`${Math.round(atRest / MIB)} MiB at rest, ${Math.round(each / MIB)} MiB more for each`)
  assert.ok(each <= MAX_BYTES_PER_TRANSFER)
}

test('first pulls of large content out of a bucket take 32 MiB each at most', { timeout: 300_000 }, async (t) => {
  if (!isMinioPresent(t)) return
  const registry = await startOnBucket(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const digests: string[] = []
  for (let pull = 0; pull < TRANSFERS; pull++) {
    const content = randomBlob(SIZE_BYTES)
    digests.push(digestOf(content))
    await client.pushBlob(name, content)
  }
  // What pushes have taken is not counted, and nothing is remembered.
  await registry.stop()
  await registry.start()
  await assertModest(t, registry, () =>
    digests.map(async (digest) => {
      const answer = await fetch(`${registry.url}/v2/${name}/blobs/${digest}`)
      const hash = createHash('sha256')
      for await (const chunk of answer.body ?? []) hash.update(chunk)
      assert.equal(`sha256:${hash.digest('hex')}`, digest)
    }),
  )
})

test('pushes of large content into a bucket take 32 MiB each at most', { timeout: 300_000 }, async (t) => {
  if (!isMinioPresent(t)) return
  const registry = await startOnBucket(t)
  const client = new RegistryClient(registry.url)
  const contents = Array.from({ length: TRANSFERS }, () => randomBlob(SIZE_BYTES))
  await assertModest(t, registry, () => contents.map(async (content) => client.pushBlob(uniqueName('faults'), content)))
})
