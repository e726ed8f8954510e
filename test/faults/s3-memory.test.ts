import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { residentBytes } from '../fuzz/disk.ts'
import { startRegistry } from '../harness.ts'
import { isMinioPresent, startMinio } from '../minio-server.ts'
import { RegistryClient } from '../registry-client.ts'

const MIB = 1024 * 1024
const PULLS = 8
const SIZE_BYTES = 100 * MIB
const MAX_BYTES_PER_PULL = 32 * MIB

test('first pulls of large content out of a bucket take 32 MiB each at most', { timeout: 300_000 }, async (t) => {
  if (!isMinioPresent(t)) return
  const minio = await startMinio()
  t.after(async () => minio.remove())
  const storage = { s3: { ...minio.storage, rootdirectory: randomUUID() }, redirect: { disable: true } }
  const registry = await startRegistry(t, { config: { storage } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const digests: string[] = []
  for (let pull = 0; pull < PULLS; pull++) {
    const content = randomBlob(SIZE_BYTES)
    digests.push(digestOf(content))
    await client.pushBlob(name, content)
  }
  // What pushes have taken is not counted, and nothing is remembered.
  await registry.stop()
  await registry.start()
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
  const pulled = await Promise.all(
    digests.map(async (digest) => {
      const answer = await fetch(`${registry.url}/v2/${name}/blobs/${digest}`)
      const hash = createHash('sha256')
      for await (const chunk of answer.body ?? []) hash.update(chunk)
      return `sha256:${hash.digest('hex')}`
    }),
  )
  state.isOver = true
  await watching
  assert.deepEqual(pulled, digests)
  const perPull = (state.peakBytes - atRest) / PULLS
  t.diagnostic(`${Math.round(atRest / MIB)} MiB at rest, ${Math.round(perPull / MIB)} MiB more for each pull`)
  assert.ok(perPull <= MAX_BYTES_PER_PULL)
})
