import assert from 'node:assert/strict'
import { type Answer, type RegistryClient, describe } from '../registry-client.ts'
import { type PlannedBlob, type PlannedManifest, planImages, type Step } from './image-plan.ts'
import type { Random } from '../random.ts'
import { ReferenceModel } from './reference-model.ts'

const CHUNKS = 3
const CONNECTION_ERRORS = new Set(['ECONNRESET', 'ECONNREFUSED', 'EPIPE'])

/** An upload that the registry has acknowledged. */
interface OpenUpload {
  url: string
  /** How many bytes were acknowledged with 202. */
  acknowledged: number
  /** How many bytes were sent at most. */
  sent: number
  /** Whether the request that makes it a blob was sent. */
  isClosing: boolean
}

/** A client with a repository of its own, that pushes images one after the other and remembers every answer. */
export class Pusher {
  readonly #name: string
  readonly #random: Random
  readonly #model: ReferenceModel
  #plans = 0
  #plan: readonly Step[] = []
  #steps: Step[] = []
  #inFlight: Step | undefined
  #upload: OpenUpload | undefined
  #lastArtifact: string | undefined
  #resumed = 0

  /** @param unneededMs how long a blob that no manifest needs stays; for good, unless something is said. */
  constructor(name: string, random: Random, unneededMs?: number) {
    this.#name = name
    this.#random = random
    this.#model = new ReferenceModel(unneededMs)
  }

  /** How much was acknowledged. */
  get acknowledged(): number {
    return this.#model.size
  }

  /** How many blobs the collector took, because no manifest has needed them for a while. */
  get collected(): number {
    return this.#model.collected
  }

  /** How many uploads went on where they had been interrupted. */
  get resumed(): number {
    return this.#resumed
  }

  /** Pushes until the connection breaks. */
  async pushUntilCut(client: RegistryClient): Promise<void> {
    try {
      for (;;) await this.#pushPlan(client)
    } catch (error) {
      if (!isConnectionError(error)) throw error
    }
  }

  /** Finishes the images that were begun. */
  async finish(client: RegistryClient): Promise<void> {
    await this.#pushPlan(client)
  }

  /** Compares all that the registry has with what it has acknowledged. */
  async verify(client: RegistryClient): Promise<void> {
    await this.#model.verify(client, this.#name, this.#inFlight)
    const unsent = this.#steps.filter((step) => step !== this.#inFlight)
    await this.#model.verifyAbsent(client, this.#name, unsent)
  }

  async #pushPlan(client: RegistryClient): Promise<void> {
    if (this.#steps.length === 0) {
      this.#plan = planImages(this.#random, (this.#plans += 1), this.#lastArtifact)
      this.#steps = [...this.#plan]
    }
    for (let step = this.#steps[0]; step !== undefined; step = this.#steps[0]) {
      const isRepeated = this.#inFlight === step
      this.#inFlight = step
      const sentAt = performance.now()
      const missing = await this.#perform(client, step, isRepeated)
      this.#inFlight = undefined
      if (missing.length > 0) {
        this.#steps.unshift(...missing)
        continue
      }
      this.#model.apply(step, sentAt)
      this.#steps.shift()
    }
  }

  /** @returns what must be done before it, and once more: then it was not done. */
  async #perform(client: RegistryClient, step: Step, isRepeated: boolean): Promise<readonly PlannedBlob[]> {
    if (step.kind === 'blob') {
      await this.#pushBlob(client, step)
    } else if (step.kind === 'manifest') {
      const missing = await this.#pushManifest(client, step)
      if (missing.length > 0) return missing
      if (step.subject !== undefined) this.#lastArtifact = step.digest
    } else {
      const answer = await client.delete(`/v2/${this.#name}/manifests/${step.digest}`)
      // The first request may have done it, though nobody was told.
      if (!isRepeated || answer.status !== 404) assert.equal(answer.status, 202, describe(answer))
    }
    return []
  }

  /** @returns the blobs that the collector has taken, for which it was refused. */
  async #pushManifest(client: RegistryClient, manifest: PlannedManifest): Promise<readonly PlannedBlob[]> {
    const [first, ...others] = manifest.tags
    const target =
      first !== undefined && others.length === 0
        ? first
        : `${manifest.digest}?${manifest.tags.map((tag) => `tag=${tag}`).join('&')}`
    const answer = await client.putManifest(this.#name, target, manifest.bytes, manifest.mediaType)
    if (answer.status === 400) {
      const missing = await this.#findMissing(client, manifest)
      assert.ok(missing.length > 0, describe(answer))
      for (const { digest } of missing) this.#model.collect(digest)
      return missing
    }
    assert.equal(answer.status, 201, describe(answer))
    assert.equal(answer.header('docker-content-digest'), manifest.digest)
    return []
  }

  async #findMissing(client: RegistryClient, { bytes }: PlannedManifest): Promise<readonly PlannedBlob[]> {
    const needed = this.#plan.filter((step) => step.kind === 'blob').filter(({ digest }) => bytes.includes(digest))
    const answers = await Promise.all(
      needed.map(async ({ digest }) => client.head(`/v2/${this.#name}/blobs/${digest}`)),
    )
    return needed.filter((_, number) => answers[number]?.status === 404)
  }

  async #pushBlob(client: RegistryClient, blob: PlannedBlob): Promise<void> {
    if (this.#upload !== undefined && (await this.#isDoneAfterCut(client, blob, this.#upload))) return
    if (this.#upload === undefined) {
      if (blob.way === 'single POST') {
        const target = `/v2/${this.#name}/blobs/uploads/?digest=${blob.digest}`
        this.#assertCreated(await client.post(target, { body: blob.bytes }), blob)
        return
      }
      const url = await client.startUpload(this.#name)
      this.#upload = { url, acknowledged: 0, sent: 0, isClosing: false }
    }
    if (blob.way !== 'monolithic') await this.#sendChunks(client, blob, this.#upload)
    const { url, acknowledged } = this.#upload
    this.#upload.isClosing = true
    this.#upload.sent = blob.bytes.length
    this.#assertCreated(await client.putBlob(url, blob.digest, blob.bytes.subarray(acknowledged)), blob)
    this.#upload = undefined
  }

  /**
   * Asks where an interrupted upload stands, and goes on from there.
   * @returns whether it had become the blob already, in which case it is gone.
   */
  async #isDoneAfterCut(client: RegistryClient, blob: PlannedBlob, upload: OpenUpload): Promise<boolean> {
    const answer = await client.get(upload.url)
    if (answer.status === 404) {
      assert.ok(upload.isClosing, `an upload is lost that was not being closed: ${describe(answer)}`)
      const found = await client.head(`/v2/${this.#name}/blobs/${blob.digest}`)
      this.#upload = undefined
      if (found.status === 200) return true
      // Seen right after the crash, taken since: otherwise it is lost.
      this.#model.collect(blob.digest)
      return false
    }
    assert.equal(answer.status, 204, describe(answer))
    const received = receivedBytes(answer)
    // Closing moves the bytes away before it says so; a crash in between begins the upload again.
    const isBegunAgain = upload.isClosing && received === 0
    assert.ok(received >= upload.acknowledged || isBegunAgain, `${received} of ${upload.acknowledged} bytes are left`)
    assert.ok(received <= upload.sent, `${received} bytes, but only ${upload.sent} were sent`)
    this.#upload = { url: client.location(answer), acknowledged: received, sent: received, isClosing: false }
    this.#resumed += 1
    return false
  }

  async #sendChunks(client: RegistryClient, blob: PlannedBlob, upload: OpenUpload): Promise<void> {
    const { bytes, way } = blob
    const chunkBytes = way === 'chunks' ? Math.ceil(bytes.length / CHUNKS) : bytes.length
    while (upload.acknowledged < bytes.length) {
      const start = upload.acknowledged
      const end = Math.min(start + chunkBytes, bytes.length)
      upload.sent = end
      const chunk = bytes.subarray(start, end)
      const answer = await (way === 'chunks'
        ? client.patchChunk(upload.url, chunk, `${start}-${end - 1}`)
        : client.request('PATCH', upload.url, { body: chunk, streamed: true }))
      assert.equal(answer.status, 202, describe(answer))
      assert.equal(receivedBytes(answer), end)
      upload.url = client.location(answer)
      upload.acknowledged = end
    }
  }

  #assertCreated(answer: Answer, blob: PlannedBlob): void {
    assert.equal(answer.status, 201, describe(answer))
    assert.equal(answer.header('docker-content-digest'), blob.digest)
  }
}

/** `0-0` stands for nothing: no chunk here has one byte. */
function receivedBytes(answer: Answer): number {
  const end = /^0-(\d+)$/.exec(answer.header('range') ?? '')?.[1]
  assert.ok(end !== undefined, describe(answer))
  return end === '0' ? 0 : Number(end) + 1
}

/** Whether a request was cut off by the server's end. */
export function isConnectionError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && CONNECTION_ERRORS.has(String(error.code))
}
