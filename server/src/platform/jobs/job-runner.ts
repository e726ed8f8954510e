import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '#platform/database'
import type { Logger } from '#platform/log'
import { MAX_DELAY_MS } from './back-off.ts'
import { JobAttempt, type Outcome } from './job-attempt.ts'
import { claimJob, type JobHandlers, scheduleJob } from './job-claim.ts'
import { correctJobTimes, hasDueJob, type JobRow, readSharedNow } from './job-rows.ts'

const LOOK_MS = 1_000

export interface JobRunnerOptions {
  /** How many jobs this process does at the same time. */
  readonly concurrency: number
  /** How long a job stays with a process that nothing more is heard of. */
  readonly leaseMs: number
}

/** Gets what became of each attempt, with the time that it took. */
export type ObserveAttempt = (kind: string, outcome: Outcome, durationMs: number) => void

/** Does jobs, as they become due, beside other processes that do the same. */
export class JobRunner {
  readonly #dependencies: { database: Database; handlers: JobHandlers; log: Logger; observe: ObserveAttempt }
  readonly #options: JobRunnerOptions
  readonly #lookMs: number
  readonly #ending = new AbortController()
  readonly #attempts = new Map<JobAttempt, Promise<void>>()
  #working: Promise<void> = Promise.resolve()
  #wake: (() => void) | undefined
  #isTroubled = false

  constructor(
    dependencies: { database: Database; handlers: JobHandlers; log: Logger; observe: ObserveAttempt },
    options: JobRunnerOptions,
  ) {
    this.#dependencies = dependencies
    this.#options = options
    this.#lookMs = Math.min(LOOK_MS, options.leaseMs / 6)
  }

  start(): void {
    this.#working = this.#work()
  }

  /** Begins no further job, and gives those under way back: they go on elsewhere, or after the next start. */
  async end(): Promise<void> {
    this.#ending.abort()
    await this.#working
    for (const attempt of this.#attempts.keys()) attempt.giveBack()
    await Promise.all(this.#attempts.values())
  }

  async #work(): Promise<void> {
    let isPrepared = false
    while (!this.#ending.signal.aborted) {
      try {
        if (!isPrepared) await this.#prepare()
        isPrepared = true
        await this.#beginDue()
        this.#isTroubled = false
      } catch (error) {
        if (!this.#isTroubled) this.#dependencies.log.warn({ err: error }, 'jobs have to wait for the database')
        this.#isTroubled = true
      }
      await this.#rest()
    }
  }

  /** Sees to it that each schedule has its next job, and that no time lies further ahead than it could. */
  async #prepare(): Promise<void> {
    const { database, handlers } = this.#dependencies
    await database.transaction(async (transaction) => {
      const now = await readSharedNow(transaction)
      for (const [kind, { schedule }] of handlers) {
        if (schedule !== undefined) await scheduleJob(transaction, { kind, schedule }, now)
      }
      await correctJobTimes(transaction, now + Math.max(MAX_DELAY_MS, this.#options.leaseMs))
    })
  }

  async #beginDue(): Promise<void> {
    const { database, handlers, log, observe } = this.#dependencies
    const { concurrency, leaseMs } = this.#options
    while (this.#attempts.size < concurrency && !this.#ending.signal.aborted) {
      // Most looks find nothing: reading costs little, and disturbs nobody.
      if (!(await hasDueJob(database.read, [...handlers.keys()]))) return
      const owner = randomUUID()
      const claim = await claimJob(database, handlers, { owner, leaseMs })
      if (claim === undefined) return
      if (claim.type === 'claimed') {
        this.#begin(claim.row, owner)
        continue
      }
      const { id: job, kind } = claim.row
      observe(kind, claim.isGivenUp ? 'failed' : 'lost', 0)
      log.warn({ job, kind, isGivenUp: claim.isGivenUp }, 'nothing more was heard of an attempt at a job')
    }
  }

  #begin(row: JobRow, owner: string): void {
    const { handlers, log, observe } = this.#dependencies
    const handler = handlers.get(row.kind)
    if (handler === undefined) throw new Error(`no handler for jobs of the kind "${row.kind}"`)
    const { leaseMs } = this.#options
    const attempt = new JobAttempt(this.#dependencies, { row, owner }, { leaseMs, lookMs: this.#lookMs })
    const startedAt = performance.now()
    const running = attempt.run(handler).then((outcome) => {
      observe(row.kind, outcome, performance.now() - startedAt)
      if (outcome === 'failed') log.error({ job: row.id, kind: row.kind }, 'a job failed; "entrepot job logs" says why')
      this.#attempts.delete(attempt)
      this.#wake?.()
    })
    this.#attempts.set(attempt, running)
  }

  /** Until the next look, or until an attempt makes room for another. */
  async #rest(): Promise<void> {
    const rested = new AbortController()
    this.#wake = () => rested.abort()
    const signal = AbortSignal.any([rested.signal, this.#ending.signal])
    await sleep(this.#lookMs, undefined, { signal, ref: false }).catch(() => {})
  }
}
