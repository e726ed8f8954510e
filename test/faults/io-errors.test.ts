import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { type TestRegistry, startRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import {
  type Attempt,
  cancelling,
  closing,
  deletion,
  filesOf,
  manifest,
  Models,
  mount,
  opening,
  type Prepare,
  pullingBlob,
  pullingManifest,
  sendingChunk,
  singlePost,
} from './attempts.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { canInject, inject } from './injection.ts'
import { byTier } from './tier.ts'

/** So much is sent by the kernel, and not from memory. */
const LARGE_BYTES = 3_000_000
/** The disk fails once, or until it is repaired. */
const DURATIONS = { once: '1', 'until it is repaired': '1+' }
const WRITES = 'pwrite64,pwritev,write,writev'
const READS = 'pread64,read'

/** A call on a file that fails with EIO. */
interface Failure {
  readonly calls: string
  readonly file: keyof ReturnType<typeof filesOf>
  /** Nothing may be written after it before a new start. */
  readonly stopsWrites?: boolean
  /** Of folders that it knows the server makes no such calls. */
  readonly afterStart?: boolean
  /** The answer has begun: it is cut off. */
  readonly cutsOff?: boolean
}

const LOG_FAILURES: readonly Failure[] = [
  { calls: WRITES, file: 'log' },
  { calls: 'fdatasync', file: 'log', stopsWrites: true },
]
const CONTENT_FAILURES: readonly Failure[] = [
  { calls: 'openat', file: 'folder' },
  { calls: 'fsync', file: 'folder' },
  { calls: '?rename,?renameat2', file: 'any' },
  { calls: 'fsync', file: 'above', afterStart: true },
  { calls: '?mkdir,?mkdirat', file: 'folder', afterStart: true },
]
const READ_FAILURES: readonly Failure[] = [
  { calls: 'openat', file: 'content' },
  { calls: READS, file: 'content' },
]

const REQUESTS: readonly (readonly [string, Prepare, readonly Failure[]])[] = [
  ['opening an upload', opening, LOG_FAILURES],
  [
    'sending a chunk',
    sendingChunk,
    [
      { calls: 'openat', file: 'upload' },
      { calls: WRITES, file: 'upload' },
    ],
  ],
  [
    'closing an upload',
    closing,
    [
      { calls: 'openat', file: 'upload' },
      { calls: WRITES, file: 'upload' },
      { calls: 'fdatasync', file: 'upload' },
      ...CONTENT_FAILURES,
      ...LOG_FAILURES,
    ],
  ],
  ['cancelling an upload', cancelling, [{ calls: '?unlink,?unlinkat', file: 'upload' }, ...LOG_FAILURES]],
  ['pushing a blob at once', singlePost, [...CONTENT_FAILURES, ...LOG_FAILURES]],
  ['pushing a manifest', manifest, [...CONTENT_FAILURES, ...LOG_FAILURES]],
  ['deleting a manifest', deletion, LOG_FAILURES],
  ['mounting a blob', mount, LOG_FAILURES],
  ['pulling a small blob', pullingBlob(10_000), READ_FAILURES],
  [
    'pulling a large blob',
    pullingBlob(LARGE_BYTES),
    [
      { calls: 'openat', file: 'content' },
      { calls: `sendfile,${READS}`, file: 'content', cutsOff: true },
    ],
  ],
  ['pulling a manifest', pullingManifest, READ_FAILURES],
]

const CASES = REQUESTS.flatMap(([request, prepare, failures]) =>
  failures.flatMap((failure) =>
    Object.entries(DURATIONS).map(([duration, when]) => ({ request, prepare, failure, duration, when })),
  ),
)

test('a disk that fails with EIO is answered with 503, acknowledges nothing, and loses nothing', async (t) => {
  if (!canInject(t)) return
  const seed = faultSeed(t)
  const registry = await startRegistry(t, { env: { UV_THREADPOOL_SIZE: '1' } })
  const models = await Models.push(new RegistryClient(registry.url))
  const stride = byTier({ quick: 9, ci: 1, release: 1 })
  for (const it of CASES.filter((_, index) => (index + seed) % stride === 0)) {
    let hasPassed = false
    await t.test(`${it.request}: ${it.failure.calls} of ${it.failure.file} fails ${it.duration}`, async (t) => {
      const { failure, when } = it
      const attempt = await it.prepare(new RegistryClient(registry.url), models)
      if (failure.afterStart) {
        await registry.kill()
        await registry.start()
      }
      await failAt(t, registry, { failure, attempt, when })
      const client = new RegistryClient(registry.url)
      await models.verify(client, attempt)
      if (failure.stopsWrites) {
        await assertWritesStopped(registry)
        await registry.kill()
        await registry.start()
        await models.verify(client, attempt)
      }
      await attempt.again(client)
      if (attempt.step !== undefined) models.apply(attempt.step, attempt.name)
      hasPassed = true
    })
    // One that failed leaves the registry in a state that says nothing about the next.
    if (!hasPassed) return
  }
  await registry.kill()
  await registry.start()
  await models.verify(new RegistryClient(registry.url))
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

async function failAt(
  t: TestContext,
  registry: TestRegistry,
  { failure, attempt, when }: { failure: Failure; attempt: Attempt; when: string },
): Promise<void> {
  const { calls } = failure
  const files = [filesOf(registry, attempt)[failure.file] ?? []].flat()
  const disk = await inject(t, registry.pid(), { calls, files, effect: 'error=EIO', when })
  try {
    const answer = send(registry, attempt)
    if (failure.cutsOff) {
      await assert.rejects(answer, 'a part must not be taken for the whole')
    } else {
      const { status, text } = await answer
      assert.equal(status, 503, text)
      assert.match(text, /"code":"UNAVAILABLE"/)
    }
    if (calls === 'fsync' || calls === 'fdatasync') await assertNotReady(registry)
  } finally {
    await disk.end()
  }
  assert.ok(disk.hits() > 0, `the server makes no such call: ${calls} on ${files.join(', ')}`)
}

async function send(registry: TestRegistry, attempt: Attempt): Promise<{ status: number; text: string }> {
  const headers = Object.entries(attempt.headers ?? {}).map(([name, value]): [string, string] => [name, String(value)])
  const answer = await fetch(new URL(attempt.target, registry.url), {
    method: attempt.method,
    headers,
    ...(attempt.body && { body: new Uint8Array(attempt.body) }),
  })
  return { status: answer.status, text: await answer.text() }
}

async function assertNotReady(registry: TestRegistry): Promise<void> {
  const answer = await fetch(`${registry.url}/readyz`)
  assert.equal(answer.status, 503, await answer.text())
}

/** After a failed sync of the log another one would succeed without what is missing: nothing may be acknowledged. */
async function assertWritesStopped(registry: TestRegistry): Promise<void> {
  const answer = await fetch(`${registry.url}/v2/faults/changed/blobs/uploads/`, { method: 'POST' })
  assert.equal(answer.status, 503, await answer.text())
  await assertNotReady(registry)
}
