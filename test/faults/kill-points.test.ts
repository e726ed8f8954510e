import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type TestRegistry, startRegistry, until } from '../harness.ts'
import { digestOf, imageDocument, mediaTypes, randomBlob } from '../content.ts'
import { type Answer, RegistryClient, assertContent, describe } from '../registry-client.ts'
import type { PlannedBlob, PlannedManifest, Step } from './image-plan.ts'
import { faultSeed } from './fault-seed.ts'
import { canInject, inject, type Injection } from './injection.ts'
import { ReferenceModel } from './reference-model.ts'
import { byTier } from './tier.ts'

const PATIENCE_MS = 20_000
const BLOB_BYTES = 700_000
const NAME = 'faults/killed'
const OTHER = 'faults/other'

/** Calls are counted for each thread. */
const ONE_THREAD = { UV_THREADPOOL_SIZE: '1' }

/** The server ends before a call: the n-th of its kind on a file. */
interface Point {
  readonly at: string
  readonly calls: string
  readonly file: 'any' | 'log' | 'database' | 'upload' | 'content' | 'folder' | 'above'
  readonly nth?: number
  /** A file is left of which no row tells, until the same content is pushed again. */
  readonly leavesFile?: boolean
}

const LOG_POINTS: readonly Point[] = [
  { at: 'before the first write to the log', calls: 'pwrite64', file: 'log' },
  { at: 'with part of the transaction in the log', calls: 'pwrite64', file: 'log', nth: 4 },
  { at: 'before the sync of the log', calls: 'fdatasync', file: 'log' },
  { at: 'between the commit and the answer', calls: 'statx,fstat', file: 'log' },
]
const CONTENT_POINTS: readonly Point[] = [
  { at: 'before the rename to the digest', calls: '?rename,?renameat2', file: 'any' },
  { at: 'between the rename and the sync of the folder', calls: 'openat', file: 'folder' },
  { at: 'in the sync of the folder', calls: 'fsync', file: 'folder' },
]

/** A request that is cut off, and what to expect afterwards. */
interface Attempt {
  /** What it makes or removes, if clients see anything of it. */
  readonly step: Step | undefined
  readonly name?: string
  readonly upload?: string
  readonly digest?: string
  send(): Promise<unknown>
  /** Does it once more, or goes on from where it stands. */
  again(client: RegistryClient): Promise<void>
}

type Prepare = (client: RegistryClient, models: Models) => Promise<Attempt>

class Models {
  readonly #models = new Map([NAME, OTHER].map((name) => [name, new ReferenceModel()]))
  readonly shown: { readonly image: PlannedManifest; readonly layer: PlannedBlob; readonly config: PlannedBlob }

  constructor(config: PlannedBlob, layer: PlannedBlob) {
    this.shown = { config, layer, image: plannedImage(config, layer, ['shown']) }
    for (const step of [config, layer, this.shown.image]) this.apply(step)
  }

  apply(step: Step, name = NAME): void {
    this.#models.get(name)?.apply(step)
  }

  async verify(client: RegistryClient, inFlight?: Attempt): Promise<void> {
    for (const [name, model] of this.#models) {
      await model.verify(client, name, (inFlight?.name ?? NAME) === name ? inFlight?.step : undefined)
    }
  }
}

const opening: Prepare = async (client) => ({
  step: undefined,
  send: async () => client.startUpload(NAME),
  again: async (after) => void (await after.startUpload(NAME)),
})

const sendingChunk: Prepare = async (client) => {
  const blob = plannedBlob()
  const upload = await client.startUpload(NAME)
  return {
    // Until it is closed, nobody sees it.
    step: undefined,
    upload,
    send: async () => client.patchChunk(upload, blob.bytes),
    again: async (after) => resume(after, { upload, blob, isClosing: false }),
  }
}

const closing: Prepare = async (client) => {
  const blob = plannedBlob()
  const upload = await client.startUpload(NAME)
  const half = client.location(await client.patchChunk(upload, blob.bytes.subarray(0, BLOB_BYTES / 2)))
  return {
    step: blob,
    upload,
    digest: blob.digest,
    send: async () => client.putBlob(half, blob.digest, blob.bytes.subarray(BLOB_BYTES / 2)),
    again: async (after) => resume(after, { upload, blob, isClosing: true }),
  }
}

const singlePost: Prepare = async (client) => {
  const blob = plannedBlob()
  const push = async (by: RegistryClient) =>
    by.post(`/v2/${NAME}/blobs/uploads/?digest=${blob.digest}`, { body: blob.bytes })
  return {
    step: blob,
    digest: blob.digest,
    send: async () => push(client),
    again: async (after) => assertStatus(await push(after), 201),
  }
}

const manifest: Prepare = async (client, { shown }) => {
  const tags = [randomTag(), randomTag(), 'latest']
  const image = plannedImage(shown.config, shown.layer, tags)
  const query = tags.map((tag) => `tag=${tag}`).join('&')
  const put = async (by: RegistryClient) =>
    by.putManifest(NAME, `${image.digest}?${query}`, image.bytes, image.mediaType)
  return {
    step: image,
    digest: image.digest,
    send: async () => put(client),
    again: async (after) => assertStatus(await put(after), 201),
  }
}

const deletion: Prepare = async (client, models) => {
  const image = plannedImage(models.shown.config, models.shown.layer, [])
  await client.pushManifest(NAME, image.bytes, image.mediaType)
  models.apply(image)
  const remove = async (by: RegistryClient) => by.delete(`/v2/${NAME}/manifests/${image.digest}`)
  return {
    step: { kind: 'deletion', digest: image.digest },
    digest: image.digest,
    send: async () => remove(client),
    again: async (after) => assertStatus(await remove(after), 202, 404),
  }
}

const mount: Prepare = async (client, models) => {
  const blob = plannedBlob()
  await client.pushBlob(NAME, blob.bytes)
  models.apply(blob)
  const send = async (by: RegistryClient) => by.post(`/v2/${OTHER}/blobs/uploads/?mount=${blob.digest}&from=${NAME}`)
  return {
    step: blob,
    name: OTHER,
    digest: blob.digest,
    send: async () => send(client),
    again: async (after) => assertStatus(await send(after), 201),
  }
}

/** So many that the log is moved into the database. */
const manyUploads: Prepare = async (client) => {
  const opened: string[] = []
  return {
    step: undefined,
    send: async () => {
      while (opened.length < 1_000) opened.push(await client.startUpload(NAME))
    },
    again: async (after) => {
      for (const url of opened) assertStatus(await after.get(url), 204)
    },
  }
}

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
      { at: 'before the folder of the digest is made', calls: '?mkdir,?mkdirat', file: 'folder' },
      { at: 'before the sync of the folder above', calls: 'fsync', file: 'above' },
      ...CONTENT_POINTS,
      ...LOG_POINTS,
    ],
  ],
  ['pushing a blob at once', singlePost, [...CONTENT_POINTS, ...LOG_POINTS]],
  ['pushing a manifest with tags', manifest, [...CONTENT_POINTS, ...LOG_POINTS]],
  ['deleting a manifest', deletion, LOG_POINTS],
  ['mounting a blob', mount, LOG_POINTS],
  [
    'moving the log into the database',
    manyUploads,
    [
      { at: 'before the first page', calls: 'pwrite64', file: 'database' },
      { at: 'in the middle of the pages', calls: 'pwrite64', file: 'database', nth: 5 },
      { at: 'before the sync of the database', calls: 'fsync,fdatasync', file: 'database' },
    ],
  ],
]

const POINTS = REQUESTS.flatMap(([request, prepare, points]) => points.map((point) => ({ request, prepare, point })))

test('a kill at each point of a request leaves all that was acknowledged, and the request as a whole or not at all', async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t, { env: ONE_THREAD })
  const models = await pushShown(registry)
  for (const { request, prepare, point } of chosen(POINTS, t)) {
    await t.test(`${request}, ${point.at}`, async (t) => {
      const attempt = await prepare(new RegistryClient(registry.url), models)
      await killAt(t, registry, injectionAt(registry, point, attempt), async () => attempt.send())
      await registry.start()
      const client = new RegistryClient(registry.url)
      await models.verify(client, attempt)
      await attempt.again(client)
      if (attempt.step !== undefined) models.apply(attempt.step, attempt.name)
      await models.verify(client)
    })
  }
})

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
  const models = await pushShown(registry)
  for (const point of chosen(COLLECTING, t)) {
    await t.test(point.at, async (t) => {
      const attempt = await singlePost(new RegistryClient(registry.url), models)
      await killAt(t, registry, injectionAt(registry, point, attempt), async () => attempt.send())
      await registry.start()
      const client = new RegistryClient(registry.url)
      await models.verify(client)
      if (point.leavesFile) await attempt.again(client)
      const file = contentFile(registry, attempt.digest ?? '')
      await until(
        async () => (await stat(file).catch(() => undefined)) === undefined,
        PATIENCE_MS,
        () => `${file} is still there`,
      )
      await models.verify(client)
    })
  }
})

/** All points, but in the quick tier, where each run takes others. */
function chosen<Item>(points: readonly Item[], t: TestContext): readonly Item[] {
  const count = Math.min(points.length, byTier({ quick: 3, ci: points.length, release: points.length }))
  const seed = faultSeed(t)
  const stride = Math.ceil(points.length / count)
  return points.filter((_, index) => (index + seed) % stride === 0)
}

async function pushShown(registry: TestRegistry): Promise<Models> {
  const client = new RegistryClient(registry.url)
  const [config, layer] = [plannedBlob(), plannedBlob()]
  const models = new Models(config, layer)
  // The collector may come in between where nothing that is not needed stays.
  await until(
    async () => {
      for (const blob of [config, layer]) await client.pushBlob(NAME, blob.bytes)
      return (await client.putManifest(NAME, 'shown', models.shown.image.bytes, mediaTypes.image)).status === 201
    },
    PATIENCE_MS,
    () => 'the image cannot be pushed',
  )
  return models
}

/** Sends the request and waits until the server has died of it. */
async function killAt(
  t: TestContext,
  registry: TestRegistry,
  injection: Injection,
  send: () => Promise<unknown>,
): Promise<void> {
  const traced = await inject(t, registry.pid(), injection)
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
  assert.ok(!isAlive, `the server makes no such call: ${injection.calls} on ${injection.files.join(', ')}`)
}

function injectionAt(registry: TestRegistry, point: Point, attempt: Attempt): Injection {
  const content = contentFile(registry, attempt.digest ?? '')
  const files = {
    any: undefined,
    log: join(registry.dataDirectory, 'entrepot.db-wal'),
    database: join(registry.dataDirectory, 'entrepot.db'),
    upload: join(registry.dataDirectory, 'uploads', basename(new URL(attempt.upload ?? registry.url).pathname)),
    content,
    folder: dirname(content),
    above: dirname(dirname(content)),
  }
  return {
    calls: point.calls,
    files: [files[point.file] ?? []].flat(),
    effect: 'signal=SIGKILL',
    when: String(point.nth ?? 1),
  }
}

/** Asks where an upload stands after the kill, goes on from there, and closes it. */
async function resume(
  client: RegistryClient,
  it: { upload: string; blob: PlannedBlob; isClosing: boolean },
): Promise<void> {
  const { bytes, digest } = it.blob
  const status = await client.get(it.upload)
  if (status.status === 404) {
    assert.ok(it.isClosing, describe(status))
    assertContent(await client.get(`/v2/${NAME}/blobs/${digest}`), it.blob)
    return
  }
  assertStatus(status, 204)
  const end = Number(/^0-(\d+)$/.exec(status.header('range') ?? '')?.[1])
  const received = end === 0 ? 0 : end + 1
  // What was acknowledged is there, unless it had become the content already: it then begins again.
  if (it.isClosing) assert.ok(received === 0 || received >= BLOB_BYTES / 2, describe(status))
  assertStatus(await client.putBlob(client.location(status), digest, bytes.subarray(received)), 201)
  assertContent(await client.get(`/v2/${NAME}/blobs/${digest}`), it.blob)
}

function contentFile(registry: TestRegistry, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(registry.dataDirectory, 'blobs', algorithm, hex.slice(0, 2), hex)
}

function assertStatus(answer: Answer, ...expected: number[]): void {
  assert.ok(expected.includes(answer.status), describe(answer))
}

function plannedBlob(): PlannedBlob {
  const bytes = randomBlob(BLOB_BYTES)
  return { kind: 'blob', bytes, digest: digestOf(bytes), way: 'monolithic' }
}

function plannedImage(config: PlannedBlob, layer: PlannedBlob, tags: readonly string[]): PlannedManifest {
  const annotations = { number: randomTag() }
  const bytes = imageDocument(descriptorOf(config), [descriptorOf(layer)], { annotations })
  return { kind: 'manifest', bytes, digest: digestOf(bytes), mediaType: mediaTypes.image, tags, subject: undefined }
}

function descriptorOf({ digest, bytes }: PlannedBlob) {
  return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
}

function randomTag(): string {
  return `t${randomInt(2 ** 40)}`
}
