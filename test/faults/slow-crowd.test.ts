import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { residentMebibytesOf } from '../../bench/servers/process-tree.ts'
import { randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { startProbe } from './probe.ts'
import { SlowCrowd } from './slow-crowd.ts'
import { byTier } from './tier.ts'

const MEBIBYTE = 1024 * 1024
const HEADERS = byTier({ quick: 50, ci: 200, release: 2_000 })
const BODIES = byTier({ quick: 50, ci: 200, release: 500 })
const READERS = byTier({ quick: 50, ci: 200, release: 500 })
const CONNECTS = byTier({ quick: 500, ci: 2_000, release: 5_000 })
const BLOB_BYTES = byTier({ quick: 32, ci: 100, release: 100 }) * MEBIBYTE
/** The defaults, but where nobody has a minute. */
const HEADER_TIMEOUT_S = byTier({ quick: 2, ci: 10, release: 10 })
const BODY_TIMEOUT_S = byTier({ quick: 3, ci: 10, release: 60 })
/** The server looks every two seconds; the rest is for a busy machine. */
const CUT_WITHIN_MS = 5_000
const BASELINE_MS = 2_000
const MAX_GROWTH_MIB = 256
/** How much slower others may be served. */
const MAX_SLOWDOWN = 2
/** Below this nobody calls it slow; the quick tier runs beside many other tests, the CI tier beside another one. */
const FAST_MS = byTier({ quick: 1_000, ci: 500, release: 200 })
const SETTLE_MS = 20_000

test(`${HEADERS} slow headers, ${BODIES} slow bodies, ${READERS} slow readers and bursts of connections are cut in time, take little memory and keep nobody waiting`, async (t) => {
  const limits = { headertimeout: `${HEADER_TIMEOUT_S}s`, bodyidletimeout: `${BODY_TIMEOUT_S}s` }
  const registry = await startRegistry(t, { config: { log: { level: 'warn' }, limits } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const bytes = randomBlob(BLOB_BYTES)
  const { digest } = await client.pushBlob(name, bytes)
  const image = await client.pushImage(name, { reference: 'latest' })
  const path = `/v2/${name}/blobs/${digest}`
  assertContent(await client.get(path), { bytes, digest })
  const uploads = await Promise.all(Array.from({ length: BODIES }, async () => client.startUpload(name)))
  const paths = ['/healthz', `/v2/${name}/manifests/latest`]
  const baseline = await measure(t, registry, paths, async () => sleep(BASELINE_MS))
  const [before, descriptors] = [residentMebibytesOf(registry.pid()), await countDescriptors(registry)]

  const crowd = new SlowCrowd(registry.url)
  t.after(() => crowd.leave())
  let peak = before
  const memory = setInterval(() => (peak = Math.max(peak, residentMebibytesOf(registry.pid()))), 200)
  t.after(() => clearInterval(memory))
  const measured = await measure(t, registry, paths, async () => {
    const [headers, stalled] = await Promise.all([
      crowd.openHeaders(HEADERS),
      crowd.openBodies(uploads.slice(0, BODIES / 2), { isStalling: true }),
      crowd.openBodies(uploads.slice(BODIES / 2), { isStalling: false }),
      crowd.openReaders(READERS, path),
    ])
    assert.equal(await crowd.burst(CONNECTS), CONNECTS / 2)
    await assertCut(headers, HEADER_TIMEOUT_S)
    await assertCut(stalled, BODY_TIMEOUT_S)
    assert.equal(await crowd.burst(CONNECTS), CONNECTS / 2)
  })
  // Who is slow but does something is left in peace.
  assert.equal(crowd.open, BODIES / 2 + READERS)
  for (const [index, one] of measured.entries()) {
    const usual = baseline[index]?.p99Ms ?? 0
    t.diagnostic(
      `${paths[index]}: 99 % of ${one.count} answers within ${one.calmP99Ms} ms, ${usual} ms without the crowd; ` +
        `of a bare server ${one.controlP99Ms} ms`,
    )
    // What the machine had to do besides the bare server shows.
    const allowed = Math.max(FAST_MS, MAX_SLOWDOWN * Math.max(usual, one.controlP99Ms))
    assert.ok(one.calmP99Ms <= allowed, `${paths[index]} took ${one.calmP99Ms} ms, at most ${allowed} ms were expected`)
  }
  t.diagnostic(`${Math.round(before)} MiB before, ${Math.round(peak)} MiB at most`)
  assert.ok(peak - before <= MAX_GROWTH_MIB, `memory grew from ${before} to ${peak} MiB`)

  crowd.leave()
  const allowed = descriptors + 10
  let open = 0
  await until(
    async () => (open = await countDescriptors(registry)) <= allowed,
    SETTLE_MS,
    () => `${open} descriptors are open, at most ${allowed} were expected`,
  )
  assertContent(await client.get(`/v2/${name}/manifests/latest`), {
    bytes: image.bytes,
    digest: image.descriptor.digest,
  })
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

/** How fast each path is answered while something is done. */
async function measure(t: TestContext, registry: TestRegistry, paths: readonly string[], work: () => Promise<unknown>) {
  const probes = await Promise.all(paths.map(async (path) => startProbe(t, `${registry.url}${path}`)))
  await work()
  return Promise.all(probes.map(async (end) => end()))
}

async function assertCut(ends: readonly Promise<number>[], timeoutS: number): Promise<void> {
  const durations = await Promise.all(ends)
  const [first, last] = [Math.min(...durations), Math.max(...durations)]
  assert.ok(first >= timeoutS * 1_000 - 50, `one was cut after ${first} ms`)
  assert.ok(last <= timeoutS * 1_000 + CUT_WITHIN_MS, `one was cut after ${last} ms`)
}

async function countDescriptors(registry: TestRegistry): Promise<number> {
  return (await readdir(`/proc/${registry.pid()}/fd`)).length
}
