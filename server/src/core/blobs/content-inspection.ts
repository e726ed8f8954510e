import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '@entrepot/oci'

/** What lies in the store under a digest. */
export type ContentState =
  | { readonly kind: 'absent' }
  /** A folder, a symbolic link, … */
  | { readonly kind: 'not-a-file' }
  | { readonly kind: 'unreadable'; readonly reason: string }
  /** As large as expected and, where it was hashed, right. */
  | { readonly kind: 'whole' }
  /** The same, but others on the machine may touch the file, whose mode this is. */
  | { readonly kind: 'exposed'; readonly mode: number }
  /** The same, but the name in the bucket speaks of so many bytes. */
  | { readonly kind: 'misnamed'; readonly name: string; readonly sizeBytes: number }
  /** The bytes are right, but not so many as expected. */
  | { readonly kind: 'other-size'; readonly sizeBytes: number }
  | { readonly kind: 'damaged'; readonly sizeBytes: number }

/** Reads and hashes what is in a store, no faster than it may. */
export interface ContentInspector {
  /** How many contents are worth being looked at at once. */
  readonly width: number
  /** Whether looks cost less in the order of digests, in which the store lists them, too. */
  readonly isOrdered: boolean
  /**
   * Looks at the content of a digest. What has another size than expected is hashed in any case, so that a wrong row is
   * not taken for wrong bytes.
   */
  look(digest: Digest, sizeBytes: number, isHashed: boolean): Promise<ContentState>
  /** All bytes of content that is small enough; undefined where they are not there or not right, which `look` tells of. */
  read(digest: Digest, maxBytes: number): Promise<Buffer | undefined>
}

export interface InspectionOptions {
  /** How fast content is read at most; undefined for as fast as it comes. */
  readonly bytesPerSecond: number | undefined
  /** Is told how many bytes more were hashed. */
  readonly onHashed: (bytes: number) => void
}

/** How fast content is read, by all who read at once together. */
export class ReadingPace {
  readonly #bytesPerMs: number
  readonly #onHashed: (bytes: number) => void
  #dueAt = 0

  constructor({ bytesPerSecond, onHashed }: InspectionOptions) {
    this.#bytesPerMs = (bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000
    this.#onHashed = onHashed
  }

  /** Counts bytes that were read, and waits until more may be. */
  async count(bytes: number): Promise<void> {
    this.#onHashed(bytes)
    if (this.#bytesPerMs === Number.POSITIVE_INFINITY) return
    const now = performance.now()
    this.#dueAt = Math.max(this.#dueAt, now) + bytes / this.#bytesPerMs
    if (this.#dueAt > now) await sleep(this.#dueAt - now)
  }
}
