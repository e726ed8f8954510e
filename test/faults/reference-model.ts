import assert from 'node:assert/strict'
import { type RegistryClient, assertContent, assertRefused, describe, record, strings } from '../registry-client.ts'
import type { PlannedBlob, PlannedManifest, Step } from './image-plan.ts'

/** What a repository must show: all that was acknowledged, and nothing else. */
export class ReferenceModel {
  readonly #blobs = new Map<string, PlannedBlob>()
  readonly #manifests = new Map<string, PlannedManifest>()
  readonly #tags = new Map<string, string>()
  readonly #subjects = new Set<string>()

  /** Notes that a step was acknowledged. */
  apply(step: Step): void {
    if (step.kind === 'blob') {
      this.#blobs.set(step.digest, step)
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
    return this.#blobs.size + this.#manifests.size
  }

  /**
   * Pulls everything and compares.
   * A step that was in flight when the server ended has happened as a whole or not at all: which of the two is learnt
   * from its content, and everything else about it must agree. It is then noted as acknowledged if it has happened.
   */
  async verify(client: RegistryClient, name: string, inFlight: Step | undefined): Promise<void> {
    if (inFlight !== undefined && (await hasHappened(client, name, inFlight))) this.apply(inFlight)
    for (const blob of this.#blobs.values()) {
      assertContent(await client.get(`/v2/${name}/blobs/${blob.digest}`), blob)
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
