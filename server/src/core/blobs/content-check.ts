import { type Digest, digestAlgorithm } from '@entrepot/oci'
import type { StoredContent } from './store.ts'
import type { Verdict } from './verdicts.ts'

/** What is read only to find out for later, at most so many at once. */
const MAX_UNAWAITED = 2

/** Somebody else has written to the content, or it is not what its digest says. */
export class WrongContentError extends Error {
  constructor(digest: Digest) {
    super(`the content of ${digest} is damaged, or was changed while it was sent`)
    this.name = 'WrongContentError'
  }
}

/** Content of which nobody knows yet whether it is right. */
export interface UncheckedContent extends StoredContent {
  readonly check: {
    /**
     * Begins to find it out, for an answer that gives so many bytes of it.
     * @returns whether the answer has to wait for `confirm` before its last bytes.
     */
    begin(lengthBytes: number): boolean
    /** @throws WrongContentError, or the error of the read that failed. */
    confirm(): Promise<void>
  }
}

/**
 * Reads content to compare it with its digest, beside those who are sent it: once for all who open the same file. The
 * file stays open until that has ended, whoever opened it goes away before.
 */
export class ContentChecks {
  readonly #running = new Map<string, Promise<Verdict>>()
  readonly #onVerdict: (digest: Digest, content: StoredContent, verdict: Verdict) => void
  #unawaited = 0

  constructor(onVerdict: (digest: Digest, content: StoredContent, verdict: Verdict) => void) {
    this.#onVerdict = onVerdict
  }

  /** The content with its check; closing it closes what was given. */
  wrap(digest: Digest, content: StoredContent): UncheckedContent {
    let outcome: Promise<Verdict> | undefined
    const run = async () => (outcome ??= this.#running.get(keyOf(digest, content)) ?? this.#start(digest, content))
    return {
      ...content,
      close: async () => {
        // Not awaited: a client that went away ends its request at once. Others may be waiting for this very read.
        void Promise.allSettled([outcome])
          .then(async () => content.close())
          .catch(() => {})
      },
      check: {
        begin: (lengthBytes) => {
          // What is at least half of it takes about as long to be sent as all of it to be read.
          const isAwaited = lengthBytes * 2 >= content.sizeBytes
          if (isAwaited) run().catch(() => {})
          else if (this.#unawaited < MAX_UNAWAITED) {
            this.#unawaited++
            void run()
              .catch(() => {})
              .finally(() => this.#unawaited--)
          }
          return isAwaited
        },
        confirm: async () => {
          if ((await run()) === 'wrong' || !(await content.isUnchanged())) throw new WrongContentError(digest)
        },
      },
    }
  }

  async #start(digest: Digest, content: StoredContent): Promise<Verdict> {
    const key = keyOf(digest, content)
    const running = this.#read(digest, content).finally(() => this.#running.delete(key))
    this.#running.set(key, running)
    return running
  }

  async #read(digest: Digest, content: StoredContent): Promise<Verdict> {
    try {
      const verdict = (await content.digest(digestAlgorithm(digest))) === digest ? 'right' : 'wrong'
      this.#onVerdict(digest, content, verdict)
      return verdict
    } catch (error) {
      this.#onVerdict(digest, content, 'unreadable')
      throw error
    }
  }
}

function keyOf(digest: Digest, { identity, changedAt }: StoredContent): string {
  return `${digest} ${identity} ${changedAt}`
}
