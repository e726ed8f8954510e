import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import type { OutgoingHttpHeaders } from 'node:http'
import { type TestRegistry, until } from '../harness.ts'
import { digestOf, imageDocument, mediaTypes, randomBlob } from '../content.ts'
import { type Answer, RegistryClient, assertContent, describe } from '../registry-client.ts'
import type { PlannedBlob, PlannedManifest, Step } from './image-plan.ts'
import { ReferenceModel } from './reference-model.ts'

const PATIENCE_MS = 20_000
const BLOB_BYTES = 700_000
const NAME = 'faults/changed'
const OTHER = 'faults/other'

/** A request that something happens to, and what to expect afterwards. */
export interface Attempt {
  readonly method: string
  readonly target: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: Buffer
  /** What it makes or removes, if clients see anything of it. */
  readonly step: Step | undefined
  /** The repository of the step. */
  readonly name?: string
  readonly upload?: string
  readonly digest?: string
  /** Does it once more, or goes on from where it stands. */
  again(client: RegistryClient): Promise<void>
}

/** Makes what a request needs. */
export type Prepare = (client: RegistryClient, models: Models) => Promise<Attempt>

/** What two repositories must show; an image is there from the beginning. */
export class Models {
  readonly #models = new Map([NAME, OTHER].map((name) => [name, new ReferenceModel()]))
  readonly config = plannedBlob()
  readonly layer = plannedBlob()

  /** Pushes the image. The collector may come in between where nothing that is not needed stays. */
  static async push(client: RegistryClient): Promise<Models> {
    const models = new Models()
    const image = plannedImage(models, ['shown'])
    await until(
      async () => {
        for (const blob of [models.config, models.layer]) await client.pushBlob(NAME, blob.bytes)
        return (await client.putManifest(NAME, 'shown', image.bytes, image.mediaType)).status === 201
      },
      PATIENCE_MS,
      () => 'the image cannot be pushed',
    )
    for (const step of [models.config, models.layer, image]) models.apply(step)
    return models
  }

  /** Notes that a step has happened. */
  apply(step: Step, name = NAME): void {
    this.#models.get(name)?.apply(step)
  }

  /** Pulls everything and compares; what the attempt does has happened as a whole or not at all. */
  async verify(client: RegistryClient, inFlight?: Attempt): Promise<void> {
    for (const [name, model] of this.#models) {
      await model.verify(client, name, (inFlight?.name ?? NAME) === name ? inFlight?.step : undefined)
    }
  }
}

export const opening: Prepare = async () => ({
  method: 'POST',
  target: `/v2/${NAME}/blobs/uploads/`,
  step: undefined,
  again: async (client) => void (await client.startUpload(NAME)),
})

export const sendingChunk: Prepare = async (client) => {
  const blob = plannedBlob()
  const upload = await client.startUpload(NAME)
  return {
    method: 'PATCH',
    target: upload,
    body: blob.bytes,
    // Until it is closed, nobody sees it.
    step: undefined,
    upload,
    again: async (after) => resume(after, { upload, blob, isClosing: false }),
  }
}

export const closing: Prepare = async (client) => {
  const blob = plannedBlob()
  const upload = await client.startUpload(NAME)
  const half = client.location(await client.patchChunk(upload, blob.bytes.subarray(0, BLOB_BYTES / 2)))
  const target = new URL(half)
  target.searchParams.append('digest', blob.digest)
  return {
    method: 'PUT',
    target: target.href,
    body: blob.bytes.subarray(BLOB_BYTES / 2),
    step: blob,
    upload,
    digest: blob.digest,
    again: async (after) => resume(after, { upload, blob, isClosing: true }),
  }
}

/** As proxies do: without having asked what arrived. Either it goes, or the client is told to begin anew. */
export const closingInTheSameWords: Prepare = async (client, models) => {
  const attempt = await closing(client, models)
  const again = async (after: RegistryClient) => {
    const { method, target, body } = attempt
    const answer = await fetch(target, { method, ...(body && { body }) })
    const text = await answer.text()
    assert.ok([201, 503].includes(answer.status), `${answer.status} ${text}`)
    if (answer.status === 503) assert.equal(answer.headers.get('retry-after'), '1', text)
    await attempt.again(after)
  }
  return { ...attempt, again }
}

export const cancelling: Prepare = async (client) => {
  const upload = await client.startUpload(NAME)
  await client.patchChunk(upload, randomBlob())
  return {
    method: 'DELETE',
    target: upload,
    step: undefined,
    upload,
    again: async (after) => assertStatus(await after.delete(upload), 204, 404),
  }
}

export const singlePost: Prepare = async () => {
  const blob = plannedBlob()
  const target = `/v2/${NAME}/blobs/uploads/?digest=${blob.digest}`
  return {
    method: 'POST',
    target,
    body: blob.bytes,
    step: blob,
    digest: blob.digest,
    again: async (after) => assertStatus(await after.post(target, { body: blob.bytes }), 201),
  }
}

export const manifest: Prepare = async (_, models) => {
  const tags = [randomTag(), randomTag(), 'latest']
  const image = plannedImage(models, tags)
  const reference = `${image.digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`
  return {
    method: 'PUT',
    target: `/v2/${NAME}/manifests/${reference}`,
    headers: { 'Content-Type': image.mediaType },
    body: image.bytes,
    step: image,
    digest: image.digest,
    again: async (after) => assertStatus(await after.putManifest(NAME, reference, image.bytes, image.mediaType), 201),
  }
}

export const deletion: Prepare = async (client, models) => {
  const image = await pushImage(client, models)
  const target = `/v2/${NAME}/manifests/${image.digest}`
  return {
    method: 'DELETE',
    target,
    step: { kind: 'deletion', digest: image.digest },
    digest: image.digest,
    again: async (after) => assertStatus(await after.delete(target), 202, 404),
  }
}

export const mount: Prepare = async (client, models) => {
  const blob = await pushBlob(client, models)
  const target = `/v2/${OTHER}/blobs/uploads/?mount=${blob.digest}&from=${NAME}`
  return {
    method: 'POST',
    target,
    step: blob,
    name: OTHER,
    digest: blob.digest,
    again: async (after) => assertStatus(await after.post(target), 201),
  }
}

/** Pulls a blob that nobody has pulled before; small ones are read into memory. */
export const pullingBlob =
  (sizeBytes: number): Prepare =>
  async (client, models) => {
    const blob = await pushBlob(client, models, sizeBytes)
    return pulling(`/v2/${NAME}/blobs/${blob.digest}`, blob)
  }

export const pullingManifest: Prepare = async (client, models) => {
  const image = await pushImage(client, models)
  return pulling(`/v2/${NAME}/manifests/${image.digest}`, image)
}

/** The files of the server that a request works on. */
export function filesOf(registry: TestRegistry, attempt: Attempt) {
  const [algorithm = '', hex = ''] = (attempt.digest ?? '').split(':')
  const above = join(registry.dataDirectory, 'blobs', algorithm)
  const folder = join(above, hex.slice(0, 2))
  return {
    any: undefined,
    log: join(registry.dataDirectory, 'entrepot.db-wal'),
    database: join(registry.dataDirectory, 'entrepot.db'),
    upload: join(registry.dataDirectory, 'uploads', basename(new URL(attempt.upload ?? registry.url).pathname)),
    content: join(folder, hex),
    folder,
    above: dirname(folder),
  }
}

/** Asks where an upload stands, goes on from there, and closes it. */
async function resume(
  client: RegistryClient,
  it: { upload: string; blob: PlannedBlob; isClosing: boolean },
): Promise<void> {
  const { bytes, digest } = it.blob
  const status = await client.get(it.upload)
  if (status.status !== 404) {
    assertStatus(status, 204)
    const end = Number(/^0-(\d+)$/.exec(status.header('range') ?? '')?.[1])
    const received = end === 0 ? 0 : end + 1
    // What was acknowledged is there, unless it had become the content already: it then begins again.
    if (it.isClosing) assert.ok(received === 0 || received >= BLOB_BYTES / 2, describe(status))
    assertStatus(await client.putBlob(client.location(status), digest, bytes.subarray(received)), 201)
  } else {
    assert.ok(it.isClosing, describe(status))
    if ((await client.get(`/v2/${NAME}/blobs/${digest}`)).status === 404) await client.pushBlob(NAME, bytes)
  }
  assertContent(await client.get(`/v2/${NAME}/blobs/${digest}`), it.blob)
}

function pulling(target: string, content: PlannedBlob | PlannedManifest): Attempt {
  return {
    method: 'GET',
    target,
    step: undefined,
    digest: content.digest,
    again: async (after) => assertContent(await after.get(target), content),
  }
}

async function pushBlob(client: RegistryClient, models: Models, sizeBytes?: number): Promise<PlannedBlob> {
  const blob = plannedBlob(sizeBytes)
  await client.pushBlob(NAME, blob.bytes)
  models.apply(blob)
  return blob
}

async function pushImage(client: RegistryClient, models: Models): Promise<PlannedManifest> {
  const image = plannedImage(models, [])
  await client.pushManifest(NAME, image.bytes, image.mediaType)
  models.apply(image)
  return image
}

function assertStatus(answer: Answer, ...expected: number[]): void {
  assert.ok(expected.includes(answer.status), describe(answer))
}

function plannedBlob(sizeBytes = BLOB_BYTES): PlannedBlob {
  const bytes = randomBlob(sizeBytes)
  return { kind: 'blob', bytes, digest: digestOf(bytes), way: 'monolithic' }
}

function plannedImage(of: { config: PlannedBlob; layer: PlannedBlob }, tags: readonly string[]): PlannedManifest {
  const annotations = { number: randomTag() }
  const bytes = imageDocument(descriptorOf(of.config), [descriptorOf(of.layer)], { annotations })
  return { kind: 'manifest', bytes, digest: digestOf(bytes), mediaType: mediaTypes.image, tags, subject: undefined }
}

function descriptorOf({ digest, bytes }: PlannedBlob) {
  return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
}

function randomTag(): string {
  return `t${randomInt(2 ** 40)}`
}
