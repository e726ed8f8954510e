import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRegistry } from '../harness.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { residentBytes } from '../fuzz/disk.ts'
import { RegistryClient, assertContent, describe } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { canInject, inject } from './injection.ts'
import { startProbe } from './probe.ts'
import { byTier } from './tier.ts'

const MEBIBYTE = 1024 * 1024
const SYNC_MS = 200
const UPLOADS = 50
const UPLOAD_BYTES = 4 * MEBIBYTE
const PAUSE_MS = 20
const HEALTH_MS = 200
const MANIFEST_MS = 1_000
const GROWTH_BYTES = 128 * MEBIBYTE

test(`${UPLOADS} uploads to a disk that takes ${SYNC_MS} ms for each sync keep nobody else waiting, and take little memory`, async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const image = await client.pushImage(name, { reference: 'cached' })
  // Once without a load, so that what a server needs for one is there.
  await pushAll(client, name)
  const before = await residentBytes(registry.pid())
  const disk = await inject(t, registry.pid(), {
    calls: 'fsync,fdatasync',
    files: [],
    effect: `delay_enter=${SYNC_MS * 1_000}`,
    when: '1+',
  })
  const rounds = byTier({ quick: 1, ci: 2, release: 20 })
  for (let round = 0; round < rounds; round += 1) {
    let peakBytes = 0
    const probes = await Promise.all(
      ['/healthz', `/v2/${name}/manifests/cached`].map(async (path) => startProbe(t, `${registry.url}${path}`)),
    )
    const [begun, hits, state] = [performance.now(), disk.hits(), { isOver: false }]
    const pushing = pushAll(client, name).finally(() => (state.isOver = true))
    const watching = (async () => {
      while (!state.isOver) {
        peakBytes = Math.max(peakBytes, await residentBytes(registry.pid()))
        await sleep(PAUSE_MS)
      }
    })()
    await pushing
    await watching
    const elapsedMs = performance.now() - begun
    const [health, manifests] = await Promise.all(probes.map(async (endProbe) => endProbe()))
    assert.ok(health !== undefined && manifests !== undefined)
    const { bytes, descriptor } = image
    assertContent(await client.get(`/v2/${name}/manifests/cached`), { bytes, digest: descriptor.digest })
    const growth = peakBytes - before
    t.diagnostic(
      `${UPLOADS} uploads took ${Math.round(elapsedMs)} ms; 99 % of ${health.count} health checks ${health.p99Ms} ms, ` +
        `of ${manifests.count} manifests ${manifests.p99Ms} ms, of a bare server ${health.controlP99Ms} ms; ${Math.round(growth / MEBIBYTE)} MiB more`,
    )
    assert.ok(disk.hits() - hits > 2 * UPLOADS, `only ${disk.hits() - hits} syncs were slow`)
    assert.ok(health.calmP99Ms < HEALTH_MS, `health checks took ${health.calmP99Ms} ms`)
    assert.ok(manifests.calmP99Ms < MANIFEST_MS, `manifests took ${manifests.calmP99Ms} ms`)
    assert.ok(growth <= GROWTH_BYTES, `the memory grew by ${growth} bytes`)
  }
  await disk.end()
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

/** Pushes blobs that nobody has, all at once. */
async function pushAll(client: RegistryClient, name: string): Promise<void> {
  const blobs = Array.from({ length: UPLOADS }, () => {
    const bytes = Buffer.concat([randomBlob(), Buffer.alloc(UPLOAD_BYTES, 'entrepot')])
    return { bytes, digest: digestOf(bytes) }
  })
  await Promise.all(
    blobs.map(async ({ bytes, digest }) => {
      const closed = await client.putBlob(await client.startUpload(name), digest, bytes)
      assert.equal(closed.status, 201, describe(closed))
    }),
  )
}
