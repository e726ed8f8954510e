/** How much an import has done, or would do. */
export class ImportCounts {
  repositories = 0
  blobs = 0
  manifests = 0
  tags = 0
  /** Contents that became further names of the files that they were in. */
  linked = 0
  /** Contents that were copied. */
  copied = 0
  /** Contents that were there before. */
  present = 0
  /** Bytes of what was linked or copied; in a dry run of all that was read. */
  bytes = 0
  /** What is not imported, each of which was told of. */
  skipped = 0
}

/** Why something is not imported; programs rely on these names. */
export type SkipReason =
  | 'name-not-allowed'
  | 'link-unreadable'
  | 'content-missing'
  | 'content-damaged'
  | 'content-unreadable'
  | 'manifest-refused'
  | 'tag-without-manifest'
  | 'tag-differs'

/** Something that is not imported. */
export interface Skipped {
  readonly reason: SkipReason
  readonly repository?: string
  readonly digest?: string
  readonly tag?: string
  readonly message: string
}

/** What an import tells, in the order in which it happens; the last one is `done` or `failed`. */
export type ImportEvent =
  | { readonly type: 'progress'; readonly counts: Readonly<ImportCounts> }
  | ({ readonly type: 'skipped' } & Skipped)
  | { readonly type: 'done'; readonly counts: Readonly<ImportCounts> }
  | { readonly type: 'failed'; readonly message: string }

/** Hears what an import tells; the import waits for it. */
export type Listener = (event: ImportEvent) => Promise<void>

/** Counts, and tells of it. */
export class ImportReport {
  readonly counts = new ImportCounts()
  readonly #tell: Listener

  constructor(tell: Listener) {
    this.#tell = tell
  }

  async skip(skipped: Skipped): Promise<void> {
    this.counts.skipped++
    await this.#tell({ type: 'skipped', ...skipped })
  }

  /** Runs the work, tells regularly how far it is, and then that it is done. */
  async during(work: () => Promise<void>, intervalMs: number): Promise<void> {
    const timer = setInterval(() => {
      // Whoever does not listen any more aborts the work by that.
      this.#tell({ type: 'progress', counts: this.counts }).catch(() => {})
    }, intervalMs)
    try {
      await work()
    } finally {
      clearInterval(timer)
    }
    await this.#tell({ type: 'done', counts: this.counts })
  }
}
