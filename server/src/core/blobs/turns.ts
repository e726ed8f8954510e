import { RegistryError } from '@entrepot/oci'

/** Lets requests for the same key go one after the other. */
export class Turns {
  readonly #timeoutMs: number
  readonly #work: string
  /** The last in each queue; settled when its turn is over. */
  readonly #last = new Map<string, Promise<void>>()

  /** @param work what one waits for, for the message to who has waited for too long. */
  constructor(timeoutMs: number, work: string) {
    this.#timeoutMs = timeoutMs
    this.#work = work
  }

  /**
   * Runs the work when all earlier work for the key has ended.
   * @throws RegistryError TOOMANYREQUESTS when that takes too long; the work is then not run.
   */
  async take<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key)
    const over = Promise.withResolvers<void>()
    const mine = Promise.allSettled([before, over.promise]).then(() => {})
    this.#last.set(key, mine)
    try {
      if (before !== undefined) await this.#wait(before)
      return await work()
    } finally {
      over.resolve()
      void mine.then(() => {
        if (this.#last.get(key) === mine) this.#last.delete(key)
      })
    }
  }

  /**
   * Runs the work in the turn of each key, which must all be free.
   * @throws what the work throws
   */
  async takeAll<Result>(keys: readonly string[], work: () => Promise<Result>): Promise<Result> {
    const over = Promise.withResolvers<void>()
    const held = keys.map(async (key) => this.take(key, async () => over.promise))
    try {
      return await work()
    } finally {
      over.resolve()
      await Promise.all(held)
    }
  }

  /** Whether work for the key is under way or waits. */
  isTaken(key: string): boolean {
    return this.#last.has(key)
  }

  async #wait(before: Promise<void>): Promise<void> {
    const timeout = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      timeout.reject(
        new RegistryError('TOOMANYREQUESTS', `another request is still ${this.#work}; try again`, {
          retryAfterSeconds: 1,
        }),
      )
    }, this.#timeoutMs)
    try {
      await Promise.race([before, timeout.promise])
    } finally {
      clearTimeout(timer)
    }
  }
}
