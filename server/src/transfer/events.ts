/** Why something is not carried over; programs rely on these names. */
export type SkipReason =
  | 'name-not-allowed'
  | 'link-unreadable'
  | 'content-missing'
  | 'content-damaged'
  | 'content-unreadable'
  | 'manifest-refused'
  | 'tag-without-manifest'
  | 'tag-differs'

/** Something that is not carried over. */
export interface Skipped {
  readonly reason: SkipReason
  readonly repository?: string
  readonly digest?: string
  readonly tag?: string
  readonly message: string
}

/** What work tells, in the order in which it happens; the last one is `done` or `failed`. */
export type TransferEvent<Counts> =
  | { readonly type: 'progress'; readonly counts: Readonly<Counts> }
  | ({ readonly type: 'skipped' } & Skipped)
  | { readonly type: 'done'; readonly counts: Readonly<Counts> }
  | { readonly type: 'failed'; readonly message: string }

/** Hears what work tells; the work waits for it. */
export type Listener<Counts> = (event: TransferEvent<Counts>) => Promise<void>

/** How often work tells how far it is. */
const PROGRESS_INTERVAL_MS = 500

/** Counts, and tells of it. */
export class Report<Counts extends { skipped: number }> {
  readonly counts: Counts
  readonly #tell: Listener<Counts>

  /** @param counts what is counted; the work adds to it. */
  constructor(counts: Counts, tell: Listener<Counts>) {
    this.counts = counts
    this.#tell = tell
  }

  async skip(skipped: Skipped): Promise<void> {
    this.counts.skipped++
    await this.#tell({ type: 'skipped', ...skipped })
  }

  /** Runs the work, tells regularly how far it is, and then that it is done. */
  async during(work: () => Promise<void>): Promise<void> {
    const timer = setInterval(() => {
      // Whoever does not listen any more aborts the work by that.
      this.#tell({ type: 'progress', counts: this.counts }).catch(() => {})
    }, PROGRESS_INTERVAL_MS)
    try {
      await work()
    } finally {
      clearInterval(timer)
    }
    await this.#tell({ type: 'done', counts: this.counts })
  }
}
