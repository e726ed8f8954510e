import { RegistryError } from '@entrepot/oci'
import type { Database } from '#platform/database'
import type { Job, JobHandler, JobLine } from './job.ts'
import { endJob, type JobHandlers } from './job-claim.ts'
import { insertJobLines, listJobLines } from './job-line-rows.ts'
import {
  countJobs,
  deleteEndedJobs,
  findJobRow,
  hasLiveKey,
  type JobFilter,
  type JobRow,
  listJobs,
  readSharedNow,
  toJob,
  updateJob,
} from './job-rows.ts'

/** How long jobs that have ended can be looked at. */
const KEPT_MS = 30 * 24 * 3_600_000
const DELETIONS_PER_STEP = 500

/** A page of a list. */
export interface JobPage {
  readonly jobs: readonly Job[]
  /** `before` of the next page; undefined on the last one. */
  readonly next?: number
}

/** What operators do with jobs. */
export class Jobs {
  readonly #database: Database
  readonly #handlers: JobHandlers

  constructor(database: Database, handlers: JobHandlers) {
    this.#database = database
    this.#handlers = handlers
  }

  /** Jobs, the newest first. */
  async list(filter: JobFilter): Promise<JobPage> {
    const found = await listJobs(this.#database.read, { ...filter, limit: filter.limit + 1 })
    const jobs = found.slice(0, filter.limit)
    const last = jobs.at(-1)
    return found.length > filter.limit && last !== undefined ? { jobs, next: last.id } : { jobs }
  }

  /** @throws RegistryError UNSUPPORTED (404) */
  async get(id: number): Promise<Job> {
    return toJob(known(id, await findJobRow(this.#database.read, id)))
  }

  /** The log of a job. @throws RegistryError UNSUPPORTED (404) */
  async lines(id: number): Promise<JobLine[]> {
    known(id, await findJobRow(this.#database.read, id))
    return listJobLines(this.#database.read, id)
  }

  /** How many jobs are queued, running, and failed. */
  async count(): ReturnType<typeof countJobs> {
    return countJobs(this.#database.read)
  }

  /**
   * Ends a job: at once if it is queued, and within seconds if it runs.
   * @throws RegistryError UNSUPPORTED (404), or (409) when it has ended
   */
  async cancel(id: number): Promise<Job> {
    return this.#change(id, async (transaction, row, now) => {
      if (row.ended_at !== null) throw conflict(`job ${id} has ended already: it is ${row.state}`)
      const isRunning = row.state === 'running'
      await insertJobLines(transaction, id, [{ at: now, text: 'somebody cancels it' }])
      if (isRunning) await updateJob(transaction, { id }, { is_cancelling: 1 })
      else await endJob(transaction, row, { handlers: this.#handlers, now, state: 'cancelled', error: null })
    })
  }

  /**
   * Has a job tried again from the beginning that failed or was cancelled.
   * @throws RegistryError UNSUPPORTED (404), or (409) when it has not ended, is done, or another one has its key
   */
  async retry(id: number): Promise<Job> {
    return this.#change(id, async (transaction, row, now) => {
      if (row.state !== 'failed' && row.state !== 'cancelled') {
        throw conflict(`job ${id} is ${row.state}; only one that failed or was cancelled can be tried again`)
      }
      if (row.key !== null && (await hasLiveKey(transaction, row.key))) {
        throw conflict(`another job with the key "${row.key}" is there already`)
      }
      await insertJobLines(transaction, id, [{ at: now, text: 'somebody has it tried again' }])
      const anew = { state: 'queued', due_at: now, attempts: 0, losses: 0, ended_at: null, error: null } as const
      await updateJob(transaction, { id }, { ...anew, live_key: row.key, progress: null })
    })
  }

  async #change(
    id: number,
    work: (transaction: Parameters<typeof updateJob>[0], row: JobRow, now: number) => Promise<void>,
  ): Promise<Job> {
    return this.#database.transaction(async (transaction) => {
      const row = known(id, await findJobRow(transaction, id))
      await work(transaction, row, await readSharedNow(transaction))
      return toJob(known(id, await findJobRow(transaction, id)))
    })
  }
}

/** Forgets, once a day, jobs that ended 30 days ago. */
export function createForgetting(database: Database): JobHandler {
  return {
    maxAttempts: 5,
    schedule: '37 3 * * *',
    run: async (_payload, { signal, report }) => {
      let forgotten = 0
      for (let step = DELETIONS_PER_STEP; step === DELETIONS_PER_STEP && !signal.aborted; forgotten += step) {
        step = await database.transaction(async (transaction) => {
          const before = (await readSharedNow(transaction)) - KEPT_MS
          return deleteEndedJobs(transaction, before, DELETIONS_PER_STEP)
        })
        report(`${forgotten + step} jobs forgotten`)
      }
    },
  }
}

function known(id: number, row: JobRow | undefined): JobRow {
  if (row !== undefined) return row
  throw new RegistryError('UNSUPPORTED', `there is no job ${id}; jobs that ended 30 days ago are forgotten`, {
    status: 404,
  })
}

const conflict = (message: string) => new RegistryError('UNSUPPORTED', message, { status: 409 })
