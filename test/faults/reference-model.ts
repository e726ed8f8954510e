import assert from 'node:assert/strict'
import { type RegistryClient, assertContent, assertRefused, describe, record, strings } from '../registry-client.ts'
import type { PlannedBlob, PlannedManifest, Step } from './image-plan.ts'

const DIGESTS = /sha256:[0-9a-f]{64}/g

/**
 * What a repository must show: all that was acknowledged, and nothing else. A blob that no manifest needs may be gone, as
 * the collector takes it after a while.
 */
export class ReferenceModel {
  readonly #unneededMs: number
  readonly #blobs = new Map<string, PlannedBlob>()
  /** Before which moment a blob was last asked for. */
  readonly #askedAt = new Map<string, number>()
  readonly #manifests = new Map<string, PlannedManifest>()
  readonly #tags = new Map<string, string>()
  readonly #subjects = new Set<string>()
  readonly #collected = new Set<string>()

  /** @param unneededMs how long a blob that no manifest needs stays; for good, unless something is said. */
  constructor(unneededMs = Number.POSITIVE_INFINITY) {
    this.#unneededMs = unneededMs
  }

  /**
   * Notes that a step was acknowledged.
   * @param sentAt when it was sent, or asked for.
   */
  apply(step: Step, sentAt = performance.now()): void {
    if (step.kind === 'blob') {
      this.#blobs.set(step.digest, step)
      this.#collected.delete(step.digest)
      this.#askedAt.set(step.digest, sentAt)
    } else if (step.kind === 'manifest') {
      this.#manifests.set(step.digest, step)
      for (const tag of step.tags) this.#tags.set(tag, step.digest)
      if (step.subject !== undefined) this.#subjects.add(step.subject)
    } else {
      this.#manifests.delete(step.digest)
    }
  }

  /** How many blobs and manifests were acknowledged. */
  get size(): number {
    return this.#blobs.size + this.#manifests.size + this.#collected.size
  }

  /** How many blobs were found to have been taken by the collector. */
  get collected(): number {
    return this.#collected.size
  }

  /** Notes that a blob that was acknowledged is gone. @throws when the collector cannot have taken it. */
  collect(digest: string): void {
    if (this.#collected.has(digest)) return
    const unaskedMs = performance.now() - (this.#askedAt.get(digest) ?? Number.POSITIVE_INFINITY)
    assert.ok(unaskedMs >= this.#unneededMs, `${digest} is gone ${unaskedMs} ms after it was asked for`)
    assert.ok(!this.#needed().has(digest), `${digest} is gone, although a manifest needs it`)
    this.#blobs.delete(digest)
    this.#askedAt.delete(digest)
    this.#collected.add(digest)
  }

  /**
   * Pulls everything and compares.
   * A step that was in flight when the server ended has happened as a whole or not at all: which of the two is learnt
   * from its content, and everything else about it must agree. It is then noted as acknowledged if it has happened.
   */
  async verify(client: RegistryClient, name: string, inFlight: Step | undefined): Promise<void> {
    const begun = performance.now()
    if (inFlight !== undefined && (await hasHappened(client, name, inFlight))) this.apply(inFlight, begun)
    for (const blob of this.#blobs.values()) {
      const askedAt = performance.now()
      const answer = await client.get(`/v2/${name}/blobs/${blob.digest}`)
      if (answer.status === 404) {
        this.collect(blob.digest)
        continue
      }
      assertContent(answer, blob)
      this.#askedAt.set(blob.digest, askedAt)
    }
    for (const manifest of this.#manifests.values()) {
      assertContent(await client.get(`/v2/${name}/manifests/${manifest.digest}`), manifest)
    }
    await this.#verifyTags(client, name)
    for (const subject of this.#subjects) {
      const answer = await client.get(`/v2/${name}/referrers/${subject}`)
      const { manifests } = record(answer.json())
      assert.ok(Array.isArray(manifests), describe(answer))
      const listed = strings(manifests.map((entry: unknown) => record(entry)['digest']))
      const expected = [...this.#manifests.values()].filter((manifest) => manifest.subject === subject)
      assert.deepEqual(listed.toSorted(), digestsOf(expected))
    }
  }

  /** Asserts that what nobody pushed to the end cannot be seen. */
  async verifyAbsent(client: RegistryClient, name: string, steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      if (step.kind !== 'deletion') assertRefused(await client.head(pathOf(name, step)), 404)
    }
  }

  /** The digests that manifests name. */
  #needed(): Set<string> {
    return new Set([...this.#manifests.values()].flatMap(({ bytes }) => bytes.toString().match(DIGESTS) ?? []))
  }

  async #verifyTags(client: RegistryClient, name: string): Promise<void> {
    const answer = await client.get(`/v2/${name}/tags/list`)
    if (answer.status === 404) {
      assert.equal(this.#tags.size, 0, describe(answer))
      return
    }
    assert.deepEqual(strings(record(answer.json())['tags']), [...this.#tags.keys()].toSorted())
    for (const [tag, digest] of this.#tags) {
      const manifest = await client.head(`/v2/${name}/manifests/${tag}`)
      assert.equal(manifest.header('docker-content-digest'), digest, `the tag ${tag} of ${name}`)
    }
  }
}

async function hasHappened(client: RegistryClient, name: string, step: Step): Promise<boolean> {
  const answer = await client.get(pathOf(name, step))
  if (answer.status === 404) return step.kind === 'deletion'
  if (step.kind === 'deletion') return false
  assertContent(answer, step)
  return true
}

function pathOf(name: string, step: Step): string {
  return `/v2/${name}/${step.kind === 'blob' ? 'blobs' : 'manifests'}/${step.digest}`
}

function digestsOf(manifests: readonly PlannedManifest[]): string[] {
  return manifests.map((manifest) => manifest.digest).toSorted()
}
