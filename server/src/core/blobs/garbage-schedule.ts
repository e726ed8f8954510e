import { setTimeout as sleep } from 'node:timers/promises'
import { Cron } from 'croner'
import type { GarbageRuns } from './garbage-runs.ts'

/** The clock may be set, or the machine sleep, while a run is waited for. */
const LOOK_AGAIN_MS = 30_000

/** When the collector runs by itself: at the times of a cron expression, or else now and again after each rest. */
export class GarbageSchedule {
  readonly #runs: GarbageRuns
  readonly #intervalMs: number
  readonly #times: Cron | undefined
  readonly #ending = new AbortController()
  #nextRunAt: Date | null = null

  /**
   * @param timing.intervalMs the rest after each run, where there is no expression
   * @param timing.schedule a cron expression, in the time zone of the machine
   */
  constructor(runs: GarbageRuns, timing: { intervalMs: number; schedule: string | undefined }) {
    this.#runs = runs
    this.#intervalMs = timing.intervalMs
    this.#times = timing.schedule === undefined ? undefined : new Cron(timing.schedule)
  }

  /** When the next run begins; null while one is under way, and before the start and after the end. */
  get nextRunAt(): Date | null {
    return this.#nextRunAt
  }

  start(): void {
    void this.#work()
  }

  /** No further run begins; one that is under way goes on. */
  end(): void {
    this.#ending.abort()
    this.#nextRunAt = null
  }

  async #work(): Promise<void> {
    if (this.#times === undefined) await this.#run()
    while (!this.#ending.signal.aborted) {
      if (this.#times === undefined) {
        this.#nextRunAt = new Date(Date.now() + this.#intervalMs)
        await this.#sleep(this.#intervalMs)
      } else {
        this.#nextRunAt = this.#times.nextRun()
        // An expression that names a year has a last time.
        if (this.#nextRunAt === null) return
        await this.#sleepUntil(this.#nextRunAt)
      }
      await this.#run()
    }
  }

  async #run(): Promise<void> {
    this.#nextRunAt = null
    if (this.#ending.signal.aborted) return
    await this.#runs.run('schedule')
  }

  async #sleepUntil(time: Date): Promise<void> {
    for (;;) {
      const leftMs = time.getTime() - Date.now()
      if (leftMs <= 0 || this.#ending.signal.aborted) return
      await this.#sleep(Math.min(leftMs, LOOK_AGAIN_MS))
    }
  }

  async #sleep(durationMs: number): Promise<void> {
    await sleep(durationMs, undefined, { signal: this.#ending.signal, ref: false }).catch(() => {})
  }
}
