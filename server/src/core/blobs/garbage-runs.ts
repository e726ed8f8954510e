import { setTimeout as sleep } from 'node:timers/promises'
import type { Instance } from '#core/instances'
import type { Database } from '#platform/database'
import type { Logger } from '#platform/log'
import type { GarbageCollector, GarbageReport } from './garbage-collection.ts'
import { insertRun, listRuns } from './garbage-run-rows.ts'

/** Who asked for a run. */
export type RunStarter = 'schedule' | 'command'

/** A run of the collector that is under way, with what it has done so far. */
export interface GarbageProgress extends Readonly<GarbageReport> {
  readonly startedBy: RunStarter
  /** ISO 8601. */
  readonly startedAt: string
}

/** A run of the collector that has ended. */
export interface GarbageRun extends GarbageProgress {
  readonly durationMs: number
  /** What stopped it before its end; the next run takes up the rest. */
  readonly error: string | null
}

/** How often it is looked whether another instance has ended its run. */
const LOOK_AGAIN_MS = 500

/** Runs of the collector, one after the other, whoever asks for them, and on whichever instance. */
export class GarbageRuns {
  readonly #collector: GarbageCollector
  readonly #database: Database
  readonly #instance: Instance
  readonly #log: Logger
  readonly #onRun: (run: GarbageRun) => void
  #last: Promise<unknown> = Promise.resolve()
  #underWay: GarbageProgress | null = null

  /** @param dependencies.onRun gets what each run has done. */
  constructor(dependencies: {
    collector: GarbageCollector
    database: Database
    instance: Instance
    log: Logger
    onRun: (run: GarbageRun) => void
  }) {
    this.#collector = dependencies.collector
    this.#database = dependencies.database
    this.#instance = dependencies.instance
    this.#log = dependencies.log
    this.#onRun = dependencies.onRun
  }

  /** The run under way; null when there is none. */
  get underWay(): GarbageProgress | null {
    return this.#underWay
  }

  /** The last 100 runs, the last one first. */
  async list(): Promise<GarbageRun[]> {
    return listRuns(this.#database.read)
  }

  /**
   * Looks at everything once, when a run under way has ended: that one may have passed what is garbage now. What stops
   * it is logged, and stands in the result.
   */
  async run(startedBy: RunStarter): Promise<GarbageRun> {
    const mine = this.#last.then(async () => this.#run(startedBy))
    this.#last = mine
    return mine
  }

  /** Lets a run under way end after its step, and waits for it. */
  async end(): Promise<void> {
    this.#collector.end()
    await this.#last
  }

  async #run(startedBy: RunStarter): Promise<GarbageRun> {
    const start = Date.now()
    const report = { unlinkedBlobs: 0, removedContents: 0, removedBytes: 0 }
    const progress = Object.assign(report, { startedBy, startedAt: new Date(start).toISOString() })
    this.#underWay = progress
    const error = await this.#collect(progress).then(
      (isWhole) => (isWhole ? null : 'it was ended with the server'),
      (error: unknown) => {
        this.#log.error({ err: error }, 'garbage could not be collected; the next run goes on')
        return error instanceof Error ? error.message : String(error)
      },
    )
    this.#underWay = null
    const run = { ...progress, durationMs: Date.now() - start, error }
    await this.#note(run)
    return run
  }

  /** @returns whether it got to the end. */
  async #collect(progress: GarbageReport): Promise<boolean> {
    let isWhole = false
    const work = async () => void (isWhole = await this.#collector.run(progress))
    while (!this.#collector.isEnding && !(await this.#instance.collect(work))) await sleep(LOOK_AGAIN_MS)
    return isWhole
  }

  async #note(run: GarbageRun): Promise<void> {
    this.#onRun(run)
    if (run.unlinkedBlobs + run.removedContents > 0) this.#log.info(run, 'garbage was collected')
    try {
      await this.#database.transaction(async (transaction) => insertRun(transaction, run))
    } catch (error) {
      // What was removed is removed: a full disk must not make a run that freed space look like a failure.
      this.#log.warn({ err: error }, 'a run of the garbage collector is missing in its history')
    }
  }
}
