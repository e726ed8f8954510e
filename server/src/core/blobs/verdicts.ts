import type { Digest } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'

/** How many contents are remembered, with about 200 bytes each; what is forgotten is read once more. */
const MAX_REMEMBERED = 50_000

/**
 * What reading all of some content has shown. What could not be read says nothing about the content: the disk may have
 * failed, or somebody wrote to it meanwhile.
 */
export type Verdict = 'right' | 'wrong' | 'unreadable'

/** Remembers which contents were found right, as long as nobody writes to them, and for a time. */
export class Verdicts {
  readonly #ageMs: number
  readonly #found = new LRUCache<Digest, { identity: string; verdict: Verdict; at: number }>({ max: MAX_REMEMBERED })

  /** @param ageMs how long content counts as right. */
  constructor(ageMs: number) {
    this.#ageMs = ageMs
  }

  /** Undefined for what has to be read before anybody knows. */
  find(digest: Digest, identity: string): Verdict | undefined {
    const found = this.#found.get(digest)
    if (found?.identity !== identity) return undefined
    return found.verdict === 'right' && Date.now() - found.at >= this.#ageMs ? undefined : found.verdict
  }

  note(digest: Digest, identity: string, verdict: Verdict): void {
    this.#found.set(digest, { identity, verdict, at: Date.now() })
  }
}
