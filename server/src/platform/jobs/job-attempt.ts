import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '#platform/database'
import type { Logger } from '#platform/log'
import { backOffMs } from './back-off.ts'
import { HopelessJobError, type JobHandler, PostponedJobError } from './job.ts'
import { endJob, type JobHandlers } from './job-claim.ts'
import { insertJobLines, type NewJobLine } from './job-line-rows.ts'
import { findJobRow, type JobRow, readSharedNow, updateJob } from './job-rows.ts'

/** How long a job may take to end that was told to. */
const END_GRACE_MS = 5_000
const MAX_ERROR_LENGTH = 1_000

/** What became of an attempt. `retried`: it threw, and is tried again; `lost`: another one may have the job. */
export type Outcome = 'done' | 'retried' | 'failed' | 'cancelled' | 'given-back' | 'lost'

/** Why an attempt was told to end. */
class AttemptEndedError extends Error {
  readonly outcome: 'cancelled' | 'given-back' | 'lost'

  constructor(outcome: AttemptEndedError['outcome'], message: string) {
    super(message)
    this.name = 'AttemptEndedError'
    this.outcome = outcome
  }
}

export interface AttemptOptions {
  readonly leaseMs: number
  /** How often it is looked whether somebody cancels the job. */
  readonly lookMs: number
}

/** One attempt at a job: it keeps the lease while the handler works, and then says what became of it. */
export class JobAttempt {
  readonly #row: JobRow
  readonly #owner: string
  readonly #database: Database
  readonly #handlers: JobHandlers
  readonly #log: Logger
  readonly #options: AttemptOptions
  readonly #ending = new AbortController()
  #lines: NewJobLine[] = []
  #progress: string | null
  #leaseUntil: number

  constructor(
    dependencies: { database: Database; handlers: JobHandlers; log: Logger },
    claimed: { row: JobRow; owner: string },
    options: AttemptOptions,
  ) {
    this.#database = dependencies.database
    this.#handlers = dependencies.handlers
    this.#log = dependencies.log.child({ job: claimed.row.id, kind: claimed.row.kind })
    this.#row = claimed.row
    this.#owner = claimed.owner
    this.#options = options
    this.#progress = claimed.row.progress
    this.#leaseUntil = performance.now() + options.leaseMs
  }

  /** Lets the attempt end soon, and its job go on elsewhere or later. */
  giveBack(): void {
    this.#ending.abort(new AttemptEndedError('given-back', 'the server ends'))
  }

  /** Does the job, and notes what became of it. It never throws. */
  async run(handler: JobHandler): Promise<Outcome> {
    const over = new AbortController()
    const keeping = this.#keepLease(over.signal)
    let failure: unknown
    try {
      await this.#work(handler)
    } catch (error) {
      failure = error ?? new Error('the job threw nothing')
    }
    over.abort()
    await keeping
    try {
      return await this.#note(failure, handler)
    } catch (error) {
      this.#log.warn({ err: error }, 'what became of a job could not be noted; it is done again')
      return 'lost'
    }
  }

  async #work(handler: JobHandler): Promise<void> {
    const { signal } = this.#ending
    const cut = new AbortController()
    const work = handler.run(JSON.parse(this.#row.payload), {
      signal,
      log: (text) => this.#write(text),
      report: (progress) => (this.#progress = progress),
    })
    const ignored = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        void sleep(END_GRACE_MS, undefined, { signal: cut.signal }).then(
          () => reject(signal.reason),
          () => {},
        )
      })
    })
    try {
      await Promise.race([work, ignored])
    } finally {
      cut.abort()
    }
  }

  #write(text: string): void {
    this.#lines.push({ at: Date.now(), text })
  }

  /** Renews the lease a few times before it ends, and sees when the job is cancelled or no longer this attempt's. */
  async #keepLease(over: AbortSignal): Promise<void> {
    const { leaseMs, lookMs } = this.#options
    for (;;) {
      await sleep(lookMs, undefined, { signal: over }).catch(() => {})
      if (over.aborted || this.#ending.signal.aborted) return
      try {
        if (performance.now() > this.#leaseUntil - (2 * leaseMs) / 3) await this.#renew()
        const row = await findJobRow(this.#database.read, this.#row.id)
        if (row?.owner !== this.#owner) this.#end('lost', 'another attempt has the job')
        else if (row.is_cancelling === 1) this.#end('cancelled', 'somebody cancelled it')
      } catch (error) {
        this.#log.warn({ err: error }, 'the lease of a job could not be renewed')
      }
      if (performance.now() > this.#leaseUntil - lookMs) this.#end('lost', 'its lease could not be renewed')
    }
  }

  async #renew(): Promise<void> {
    const renewedAt = performance.now()
    const lines = this.#lines
    const isOwn = await this.#database.transaction(async (transaction) => {
      const due_at = (await readSharedNow(transaction)) + this.#options.leaseMs
      const changes = { due_at, progress: this.#progress }
      if (!(await updateJob(transaction, { id: this.#row.id, owner: this.#owner }, changes))) return false
      await insertJobLines(transaction, this.#row.id, lines)
      return true
    })
    if (!isOwn) return
    this.#lines = this.#lines.slice(lines.length)
    this.#leaseUntil = renewedAt + this.#options.leaseMs
  }

  #end(outcome: AttemptEndedError['outcome'], message: string): void {
    this.#ending.abort(new AttemptEndedError(outcome, message))
  }

  /** Notes the end of the attempt, if the job is still its own. */
  async #note(failure: unknown, handler: JobHandler): Promise<Outcome> {
    const outcome = this.#outcomeOf(failure, handler)
    if (outcome === 'lost') return outcome
    const error = failure === undefined ? null : messageOf(failure).slice(0, MAX_ERROR_LENGTH)
    this.#write(error === null ? `attempt ${this.#row.attempts} is done` : `attempt ${this.#row.attempts}: ${error}`)
    const { id, attempts } = this.#row
    return this.#database.transaction(async (transaction) => {
      const now = await readSharedNow(transaction)
      const own = { id, owner: this.#owner }
      if (!(await updateJob(transaction, own, { progress: this.#progress, due_at: now }))) return 'lost'
      await insertJobLines(transaction, id, this.#lines)
      if (outcome === 'given-back') {
        // It is not the job's fault.
        await updateJob(transaction, own, { state: 'queued', owner: null, attempts: attempts - 1 })
      } else if (outcome === 'retried') {
        const leastMs = failure instanceof PostponedJobError ? failure.delayMs : 0
        const due_at = now + backOffMs(attempts, leastMs)
        await updateJob(transaction, own, { state: 'queued', owner: null, due_at, error })
      } else {
        await endJob(transaction, this.#row, { handlers: this.#handlers, now, state: outcome, error })
      }
      return outcome
    })
  }

  #outcomeOf(failure: unknown, handler: JobHandler): Outcome {
    if (failure === undefined) return 'done'
    const { signal } = this.#ending
    if (signal.aborted && signal.reason instanceof AttemptEndedError) return signal.reason.outcome
    if (failure instanceof HopelessJobError || this.#row.attempts >= handler.maxAttempts) return 'failed'
    return 'retried'
  }
}

function messageOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure)
  return failure.cause instanceof Error ? `${failure.message}: ${failure.cause.message}` : failure.message
}
