import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { type TestRegistry, startRegistry, until } from '../harness.ts'
import { type Answer, RegistryClient, describe } from '../registry-client.ts'
import {
  type Attempt,
  closing,
  closingInTheSameWords,
  deletion,
  filesOf,
  manifest,
  Models,
  mount,
  opening,
  type Prepare,
  sendingChunk,
  singlePost,
} from './attempts.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { canInject, inject } from './injection.ts'
import { byTier } from './tier.ts'

const PATIENCE_MS = 20_000
/** Calls are counted for each thread. */
const ONE_THREAD = { UV_THREADPOOL_SIZE: '1' }
/** So many commits move the log into the database. */
const MANY = 1_000

/** The server ends before a call: the n-th of its kind on a file. */
interface Point {
  readonly at: string
  readonly calls: string
  readonly file: keyof ReturnType<typeof filesOf>
  readonly nth?: number
  /** How often the request is sent. */
  readonly times?: number
  /** Of folders that it knows the server makes no such calls. */
  readonly afterStart?: boolean
  /** A file is left of which no row tells, until the same content is pushed again. */
  readonly leavesFile?: boolean
}

const LOG_POINTS: readonly Point[] = [
  { at: 'before the first write to the log', calls: 'pwrite64', file: 'log' },
  { at: 'with part of the transaction in the log', calls: 'pwrite64', file: 'log', nth: 4 },
  { at: 'before the sync of the log', calls: 'fdatasync', file: 'log' },
  // The server looks how long the log is while it answers: either may come first.
  { at: 'between the commit and the answer, or right after it', calls: 'statx,fstat', file: 'log' },
]
const CONTENT_POINTS: readonly Point[] = [
  { at: 'before the rename to the digest', calls: '?rename,?renameat2', file: 'any' },
  { at: 'between the rename and the sync of the folder', calls: 'openat', file: 'folder' },
  { at: 'in the sync of the folder', calls: 'fsync', file: 'folder' },
]

const REQUESTS: readonly (readonly [string, Prepare, readonly Point[]])[] = [
  ['opening an upload', opening, LOG_POINTS],
  [
    'sending a chunk',
    sendingChunk,
    [
      { at: 'before the file of the upload is made', calls: 'openat', file: 'upload' },
      { at: 'in the middle of the bytes', calls: 'pwritev,pwrite64', file: 'upload', nth: 2 },
      { at: 'when all bytes are written', calls: 'close', file: 'upload' },
    ],
  ],
  [
    'closing an upload',
    closing,
    [
      { at: 'before the sync of the upload', calls: 'fdatasync', file: 'upload' },
      { at: 'before the folder of the digest is made', calls: '?mkdir,?mkdirat', file: 'folder', afterStart: true },
      { at: 'before the sync of the folder above', calls: 'fsync', file: 'above', afterStart: true },
      ...CONTENT_POINTS,
      ...LOG_POINTS,
    ],
  ],
  [
    'closing an upload in the same words again',
    closingInTheSameWords,
    [{ at: 'before the sync of the upload', calls: 'fdatasync', file: 'upload' }, ...CONTENT_POINTS, ...LOG_POINTS],
  ],
  ['pushing a blob at once', singlePost, [...CONTENT_POINTS, ...LOG_POINTS]],
  ['pushing a manifest with tags', manifest, [...CONTENT_POINTS, ...LOG_POINTS]],
  ['deleting a manifest', deletion, LOG_POINTS],
  ['mounting a blob', mount, LOG_POINTS],
  [
    'moving the log into the database',
    opening,
    [
      { at: 'before the first page', calls: 'pwrite64', file: 'database', times: MANY },
      { at: 'in the middle of the pages', calls: 'pwrite64', file: 'database', nth: 5, times: MANY },
      { at: 'before the sync of the database', calls: 'fsync,fdatasync', file: 'database', times: MANY },
    ],
  ],
]

const POINTS = REQUESTS.flatMap(([request, prepare, points]) => points.map((point) => ({ request, prepare, point })))

test('a kill at each point of a request leaves all that was acknowledged, and the request as a whole or not at all', async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t, { env: ONE_THREAD })
  const models = await Models.push(new RegistryClient(registry.url))
  for (const { request, prepare, point } of chosen(POINTS, t)) {
    await t.test(`${request}, ${point.at}`, async (t) => {
      const attempt = await prepare(new RegistryClient(registry.url), models)
      if (point.afterStart) {
        await registry.kill()
        await registry.start()
      }
      const answered = await killAt(t, { registry, point, attempt })
      await registry.start()
      const client = new RegistryClient(registry.url)
      if (attempt.step === undefined) {
        await models.verify(client)
        for (const answer of answered) assert.equal((await client.get(client.location(answer))).status, 204)
        await attempt.again(client)
        return
      }
      if (answered.length === 0) {
        await models.verify(client, attempt)
        await attempt.again(client)
      }
      models.apply(attempt.step, attempt.name)
      await models.verify(client)
    })
  }
  await models.verify(new RegistryClient(registry.url))
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

test('a kill before any write to the log during a push leaves the manifest with all its tags, or nothing of it', async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t, { env: ONE_THREAD })
  const models = await Models.push(new RegistryClient(registry.url))
  const stride = byTier({ quick: 9, ci: 1, release: 1 })
  let nth = 1 + (faultSeed(t) % stride)
  // On and on, until it makes fewer writes than that.
  while (await isKilledBefore(t, { registry, models, nth })) nth += stride
  t.diagnostic(`it was answered before write ${nth}`)
  await models.verify(new RegistryClient(registry.url))
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

/** Pushes a manifest with tags, and kills before the n-th write to the log. @returns false when it was answered. */
async function isKilledBefore(
  t: TestContext,
  { registry, models, nth }: { registry: TestRegistry; models: Models; nth: number },
): Promise<boolean> {
  const client = new RegistryClient(registry.url)
  const attempt = await manifest(client, models)
  const files = [filesOf(registry, attempt).log]
  const effect = { calls: 'pwrite64', effect: 'signal=SIGKILL', when: String(nth) }
  const traced = await inject(t, registry.pid(), { files, ...effect })
  const answer = await client.request(attempt.method, attempt.target, attempt).catch((error: unknown) => {
    if (error instanceof assert.AssertionError) throw error
  })
  if (answer !== undefined) {
    await traced.end()
    assert.equal(answer.status, 201, describe(answer))
    if (attempt.step !== undefined) models.apply(attempt.step, attempt.name)
    return false
  }
  await traced.ended
  await registry.kill()
  await registry.start()
  await models.verify(new RegistryClient(registry.url), attempt)
  return true
}

/** A blob that nothing needs is noted, taken from its repository, and its row and its file are removed: a transaction each. */
const COLLECTING: readonly Point[] = [
  ...['it is noted', 'it is taken from the repository', 'its row is removed'].flatMap((when, before) => {
    const point = { file: 'log' as const, nth: before + 2, leavesFile: before === 2 }
    return [
      { ...point, at: `before the sync when ${when}`, calls: 'fdatasync' },
      { ...point, at: `after the sync when ${when}`, calls: 'statx,fstat' },
    ]
  }),
  { at: 'before its file is removed', calls: '?unlink,?unlinkat', file: 'content', leavesFile: true },
]

test('a kill at each point of garbage collection leaves what is needed, and the rest is collected later, or with the next push of it', async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t, {
    config: { storage: { maintenance: { garbagecollection: { age: '0s', interval: '50ms' } } } },
    env: ONE_THREAD,
  })
  const models = await Models.push(new RegistryClient(registry.url))
  for (const point of chosen(COLLECTING, t)) {
    await t.test(point.at, async (t) => {
      const attempt = await singlePost(new RegistryClient(registry.url), models)
      await killAt(t, { registry, point, attempt })
      await registry.start()
      const client = new RegistryClient(registry.url)
      await models.verify(client)
      const file = filesOf(registry, attempt).content
      // A point of the log may be one of another transaction: what has no row any more only the next push makes known.
      if (point.leavesFile || !hasRow(registry, `sha256:${basename(file)}`)) await attempt.again(client)
      await until(
        async () => (await stat(file).catch(() => undefined)) === undefined,
        PATIENCE_MS,
        () => `${file} is still there`,
      )
      await models.verify(client)
    })
  }
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

/** Whether the database knows of content. */
function hasRow(registry: TestRegistry, digest: string): boolean {
  const database = new DatabaseSync(join(registry.dataDirectory, 'entrepot.db'), { readOnly: true })
  try {
    return database.prepare('select 1 from blobs where digest = ?').get(digest) !== undefined
  } finally {
    database.close()
  }
}

/** All points, but in the quick tier, where each run takes others. */
function chosen<Item>(points: readonly Item[], t: TestContext): readonly Item[] {
  const count = Math.min(points.length, byTier({ quick: 3, ci: points.length, release: points.length }))
  const seed = faultSeed(t)
  const stride = Math.ceil(points.length / count)
  return points.filter((_, index) => (index + seed) % stride === 0)
}

/** Sends the request and waits until the server has died of it. @returns what was answered before. */
async function killAt(
  t: TestContext,
  { registry, point, attempt }: { registry: TestRegistry; point: Point; attempt: Attempt },
): Promise<Answer[]> {
  const { calls, file, nth = 1, times = 1 } = point
  const files = [filesOf(registry, attempt)[file] ?? []].flat()
  const traced = await inject(t, registry.pid(), { calls, files, effect: 'signal=SIGKILL', when: String(nth) })
  const client = new RegistryClient(registry.url)
  const answered: Answer[] = []
  const send = async () => {
    while (answered.length < times) answered.push(await client.request(attempt.method, attempt.target, attempt))
  }
  const sent = send().catch((error: unknown) => {
    if (error instanceof assert.AssertionError) throw error
  })
  const timer = setTimeout(() => void traced.end(), PATIENCE_MS)
  await traced.ended
  clearTimeout(timer)
  await sent
  const isAlive = await fetch(`${registry.url}/healthz`).then(
    () => true,
    () => false,
  )
  assert.ok(
    !isAlive,
    `the server makes no such call: ${calls} on ${files.join(', ')}; ${answered.map(describe).join()}`,
  )
  return answered
}
