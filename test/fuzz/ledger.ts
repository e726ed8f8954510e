import { digestOf } from '../content.ts'

/** Something that the registry acknowledged with 201 and must give back, byte for byte. */
export interface Acknowledged {
  readonly repository: string
  readonly kind: 'blobs' | 'manifests'
  readonly digest: string
  readonly bytes: Buffer
  readonly mediaType?: string
}

/** What the registry has acknowledged, and so what may be on its disk. */
export class Ledger {
  readonly #held = new Map<string, Acknowledged>()
  /** Digests whose bytes may be on the disk: all that were acknowledged, deleted since or not. */
  readonly digests = new Set<string>()
  /** Ids of uploads that were begun and not ended. */
  readonly openUploads = new Set<string>()

  get held(): readonly Acknowledged[] {
    return [...this.#held.values()]
  }

  acknowledge(content: Acknowledged): void {
    this.digests.add(content.digest)
    this.#held.set(keyOf(content), content)
  }

  forget(content: { repository: string; kind: 'blobs' | 'manifests'; digest: string }): void {
    this.#held.delete(keyOf(content))
  }

  /** Notes content that a client sent in full without waiting for the answer: it may be there or not. */
  suspect(bytes: Buffer): void {
    this.digests.add(digestOf(bytes))
  }
}

function keyOf(content: { repository: string; kind: string; digest: string }): string {
  return `${content.repository}/${content.kind}/${content.digest}`
}
