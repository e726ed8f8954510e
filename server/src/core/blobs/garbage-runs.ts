import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '#platform/log'
import type { GarbageCollector, GarbageReport } from './garbage-collection.ts'

/** Who asked for a run. */
export type RunStarter = 'schedule' | 'command'

/** A run of the collector that has ended. */
export interface GarbageRun extends GarbageReport {
  readonly startedBy: RunStarter
  /** In milliseconds since 1970. */
  readonly startedAt: number
  readonly durationMs: number
}

/** Runs of the collector, one after the other, whoever asks for them. */
export class GarbageRuns {
  readonly #collector: GarbageCollector
  readonly #log: Logger
  readonly #onRun: (run: GarbageRun) => void
  #last: Promise<unknown> = Promise.resolve()

  /** @param dependencies.onRun gets what each run has done. */
  constructor(dependencies: { collector: GarbageCollector; log: Logger; onRun: (run: GarbageRun) => void }) {
    this.#collector = dependencies.collector
    this.#log = dependencies.log
    this.#onRun = dependencies.onRun
  }

  /**
   * Looks at everything once, when a run under way has ended: that one may have passed what is garbage now.
   * @throws what stopped the run; the next one takes up the rest.
   */
  async run(startedBy: RunStarter): Promise<GarbageRun> {
    const mine = this.#last.then(async () => this.#run(startedBy))
    this.#last = mine.catch(() => {})
    return mine
  }

  /** Lets a run under way end after its step, and waits for it. */
  async end(): Promise<void> {
    this.#collector.end()
    await this.#last
  }

  async #run(startedBy: RunStarter): Promise<GarbageRun> {
    const startedAt = Date.now()
    try {
      const report = await this.#collector.run()
      const run = { ...report, startedBy, startedAt, durationMs: Date.now() - startedAt }
      this.#onRun(run)
      if (Object.values(report).some((count) => count > 0)) this.#log.info(run, 'garbage was collected')
      return run
    } catch (error) {
      this.#log.error({ err: error }, 'garbage could not be collected; the next run goes on')
      throw error
    }
  }
}

/**
 * Collects garbage now, and again after each rest.
 * @returns ends it.
 */
export function startGarbageCollection(runs: GarbageRuns, options: { intervalMs: number }): () => void {
  const ending = new AbortController()
  const work = async () => {
    while (!ending.signal.aborted) {
      // It is logged where it happens.
      await runs.run('schedule').catch(() => {})
      await sleep(options.intervalMs, undefined, { signal: ending.signal, ref: false }).catch(() => {})
    }
  }
  void work()
  return () => ending.abort()
}
