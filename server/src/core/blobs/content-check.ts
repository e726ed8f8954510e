import { createHash } from 'node:crypto'
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
 * file stays open until that has ended, whoever opened it goes away before. Content that is no file, and is sent as a
 * whole, is compared on its way: reading it once more would cost what the network costs.
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
    let passing: PassingHash | undefined
    return {
      ...content,
      read: async (target, position, end) => {
        const length = await content.read(target, position, end)
        passing?.update(target.subarray(0, length), position)
        return length
      },
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
          if (content.descriptor === undefined && lengthBytes === content.sizeBytes) passing = new PassingHash(digest)
          else if (isAwaited) run().catch(() => {})
          else if (this.#unawaited < MAX_UNAWAITED) {
            this.#unawaited++
            void run()
              .catch(() => {})
              .finally(() => this.#unawaited--)
          }
          return isAwaited
        },
        confirm: async () => {
          if (passing?.sizeBytes === content.sizeBytes) outcome ??= this.#judge(digest, content, passing.isRight())
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

  async #judge(digest: Digest, content: StoredContent, isRight: boolean): Promise<Verdict> {
    const verdict = isRight ? 'right' : 'wrong'
    this.#onVerdict(digest, content, verdict)
    return verdict
  }

  async #read(digest: Digest, content: StoredContent): Promise<Verdict> {
    try {
      return await this.#judge(digest, content, (await content.digest(digestAlgorithm(digest))) === digest)
    } catch (error) {
      this.#onVerdict(digest, content, 'unreadable')
      throw error
    }
  }
}

/** Hashes what is read one piece after the other, from the first byte on. */
class PassingHash {
  readonly #digest: Digest
  readonly #hash
  #sizeBytes = 0

  constructor(digest: Digest) {
    this.#digest = digest
    this.#hash = createHash(digestAlgorithm(digest))
  }

  /** How many bytes have passed. */
  get sizeBytes(): number {
    return this.#sizeBytes
  }

  update(bytes: Uint8Array, position: number): void {
    if (position !== this.#sizeBytes) return
    this.#hash.update(bytes)
    this.#sizeBytes += bytes.byteLength
  }

  /** Whether what has passed has the digest; nothing passes after that. */
  isRight(): boolean {
    return `${digestAlgorithm(this.#digest)}:${this.#hash.digest('hex')}` === this.#digest
  }
}

function keyOf(digest: Digest, { identity, changedAt }: StoredContent): string {
  return `${digest} ${identity} ${changedAt}`
}
