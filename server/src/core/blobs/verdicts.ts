import { steadyNow } from '#platform/clock'
import type { Digest } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'
import type { StoredContent } from './store.ts'

/** How many contents are remembered, with about 200 bytes each; what is forgotten is read once more. */
const MAX_REMEMBERED = 50_000

/**
 * What reading all of some content has shown. What could not be read says nothing about the content: the disk may have
 * failed, or somebody wrote to it meanwhile.
 */
export type Verdict = 'right' | 'wrong' | 'unreadable'

type State = Pick<StoredContent, 'identity' | 'changedAt'>

interface Finding extends State {
  readonly verdict: Verdict
  readonly foundAt: number
}

/** Remembers which contents were found right, as long as nobody writes to them, and for a time. */
export class Verdicts {
  readonly #ageMs: number
  readonly #found = new LRUCache<Digest, Finding>({ max: MAX_REMEMBERED })

  /** @param ageMs how long content counts as right. */
  constructor(ageMs: number) {
    this.#ageMs = ageMs
  }

  /** Undefined for what has to be read before anybody knows. */
  find(digest: Digest, { identity, changedAt }: State): Verdict | undefined {
    const found = this.#found.get(digest)
    if (found?.identity !== identity) return undefined
    // What is wrong is so on its way into quarantine, too.
    if (found.verdict === 'wrong') return 'wrong'
    if (found.changedAt !== changedAt) return undefined
    return found.verdict === 'right' && steadyNow() - found.foundAt >= this.#ageMs ? undefined : found.verdict
  }

  note(digest: Digest, { identity, changedAt }: State, verdict: Verdict): void {
    this.#found.set(digest, { identity, changedAt, verdict, foundAt: steadyNow() })
  }
}
