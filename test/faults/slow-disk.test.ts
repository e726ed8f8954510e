import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { residentBytes } from '../fuzz/disk.ts'
import { temporaryFolder } from '../operations/command.ts'
import { RegistryClient, assertContent, describe } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { canInject, inject } from './injection.ts'
import { startProbe } from './probe.ts'
import { byTier } from './tier.ts'

const MEBIBYTE = 1024 * 1024
const SYNC_MS = 200
/** Four threads write pieces of about 256 KiB: 1 MiB/s in the long run, and more where nobody has a minute. */
const WRITE_MS = byTier({ quick: 200, ci: 1_000, release: 3_200 })
const SYNCS = '--trace=fsync,fdatasync'
const UPLOADS = 50
const UPLOAD_MIB = byTier({ quick: 4, ci: 50, release: 50 })
const FILLING = Buffer.alloc(MEBIBYTE, 'entrepot')
const PAUSE_MS = 20
const HEALTH_MS = 200
const MANIFEST_MS = 1_000
const GROWTH_BYTES = 128 * MEBIBYTE

/** A registry whose cached manifest others ask for while its disk is slow. */
interface Slow {
  readonly registry: TestRegistry
  readonly client: RegistryClient
  readonly name: string
}

test(`${UPLOADS} uploads to a disk that takes ${SYNC_MS} ms for each sync keep nobody else waiting, and take little memory`, async (t) => {
  if (!canInject(t)) return
  const trace = join(await temporaryFolder(t), 'trace')
  // From the start, with a filter in the kernel: a tracer that comes later stops the server at all of its calls.
  const effect = `--inject=fsync,fdatasync:delay_enter=${SYNC_MS * 1_000}`
  const slow = await startSlow(t, ['strace', '-D', '-f', '--seccomp-bpf', `--output=${trace}`, SYNCS, effect])
  const countSyncs = async () => (await readFile(trace, 'utf8')).match(/\(DELAYED\)/g)?.length ?? 0
  // Once before, so that what a server needs for a load is there.
  await pushAll(slow)
  const rounds = byTier({ quick: 1, ci: 1, release: 20 })
  for (let round = 0; round < rounds; round += 1) {
    const syncs = await countSyncs()
    await measure(t, slow, async () => pushAll(slow))
    const more = (await countSyncs()) - syncs
    assert.ok(more > 2 * UPLOADS, `only ${more} syncs were slow`)
  }
  await slow.registry.stop()
  await expectSound(t, slow.registry.dataDirectory)
})

test(`${UPLOADS} uploads to a disk that takes ${WRITE_MS} ms for each write keep nobody else waiting, and take little memory`, async (t) => {
  if (!canInject(t)) return
  const slow = await startSlow(t)
  const { client, name } = slow
  await pushAll(slow)
  const begun = await Promise.all(
    Array.from({ length: UPLOADS }, async () => {
      const first = randomBlob()
      const patched = await client.patchChunk(await client.startUpload(name), first)
      return { first, rest: Buffer.concat([randomBlob(), FILLING]), url: client.location(patched) }
    }),
  )
  const disk = await inject(t, slow.registry.pid(), {
    calls: 'write,writev,pwrite64,pwritev,?pwritev2',
    files: begun.map(({ url }) => join(slow.registry.dataDirectory, 'uploads', basename(new URL(url).pathname))),
    effect: `delay_enter=${WRITE_MS * 1_000}`,
    when: '1+',
  })
  await measure(t, slow, async () => {
    await Promise.all(
      begun.map(async ({ first, rest, url }) => {
        const closed = await client.putBlob(url, digestOf(Buffer.concat([first, rest])), rest)
        assert.equal(closed.status, 201, describe(closed))
      }),
    )
  })
  assert.ok(disk.hits() >= UPLOADS, `only ${disk.hits()} writes were slow`)
  await disk.end()
  await slow.registry.stop()
  await expectSound(t, slow.registry.dataDirectory)
})

async function startSlow(t: TestContext, through: readonly string[] = []): Promise<Slow> {
  const registry = await startRegistry(t, { through })
  const slow = { registry, client: new RegistryClient(registry.url), name: uniqueName('faults') }
  await slow.client.pushImage(slow.name, { reference: 'cached' })
  return slow
}

/** Asserts what others are served like while something is done, and how much memory that takes. */
async function measure(t: TestContext, { registry, client, name }: Slow, work: () => Promise<void>): Promise<void> {
  const path = `/v2/${name}/manifests/cached`
  const right = await client.get(path)
  const before = await residentBytes(registry.pid())
  let peakBytes = before
  const probes = await Promise.all(['/healthz', path].map(async (path) => startProbe(t, `${registry.url}${path}`)))
  const [begun, state] = [performance.now(), { isOver: false }]
  const watching = (async () => {
    while (!state.isOver) {
      peakBytes = Math.max(peakBytes, await residentBytes(registry.pid()))
      await sleep(PAUSE_MS)
    }
  })()
  await work().finally(() => (state.isOver = true))
  await watching
  const elapsedMs = performance.now() - begun
  const [health, manifests] = await Promise.all(probes.map(async (endProbe) => endProbe()))
  assert.ok(health !== undefined && manifests !== undefined)
  assertContent(await client.get(path), { bytes: right.body, digest: digestOf(right.body) })
  const growth = peakBytes - before
  t.diagnostic(
    `${UPLOADS} uploads took ${Math.round(elapsedMs)} ms; 99 % of ${health.count} health checks ${health.p99Ms} ms, ` +
      `of ${manifests.count} manifests ${manifests.p99Ms} ms, of a bare server ${health.controlP99Ms} ms; ${Math.round(growth / MEBIBYTE)} MiB more`,
  )
  assert.ok(health.calmP99Ms < HEALTH_MS, `health checks took ${health.calmP99Ms} ms`)
  assert.ok(manifests.calmP99Ms < MANIFEST_MS, `manifests took ${manifests.calmP99Ms} ms`)
  assert.ok(growth <= GROWTH_BYTES, `the memory grew by ${growth} bytes`)
}

/** Pushes blobs that nobody has, all at once. */
async function pushAll({ client, name }: Slow): Promise<void> {
  const blobs = Array.from({ length: UPLOADS }, () => {
    const pieces = [randomBlob(), ...Array.from({ length: UPLOAD_MIB }, () => FILLING)]
    const hash = createHash('sha256')
    for (const piece of pieces) hash.update(piece)
    return { pieces, digest: `sha256:${hash.digest('hex')}` }
  })
  await Promise.all(
    blobs.map(async ({ pieces, digest }) => {
      const closed = await client.putBlob(await client.startUpload(name), digest, pieces)
      assert.equal(closed.status, 201, describe(closed))
    }),
  )
}
