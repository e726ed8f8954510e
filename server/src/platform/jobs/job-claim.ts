import { Cron } from 'croner'
import { type Database, type Transaction } from '#platform/database'
import { backOffMs } from './back-off.ts'
import type { JobHandler } from './job.ts'
import { insertJobLines } from './job-line-rows.ts'
import {
  bringForward,
  findDueJob,
  insertJob,
  type JobRow,
  readSharedNow,
  SCHEDULED_KEY,
  updateJob,
} from './job-rows.ts'

/** A job whose process was killed so often is the likely reason for that. */
const MAX_LOSSES = 3

/** The handlers by the kind of job. */
export type JobHandlers = ReadonlyMap<string, JobHandler>

/** What became of the next job that is due. */
export type Claim =
  | { readonly type: 'claimed'; readonly row: JobRow }
  /** Nothing was heard of its last attempt for as long as it was its own. */
  | { readonly type: 'lost'; readonly row: JobRow; readonly isGivenUp: boolean }

/**
 * Takes the next job that is due, for as long as the lease; undefined when there is none.
 * @param attempt.owner what the attempt is known by.
 */
export async function claimJob(
  database: Database,
  handlers: JobHandlers,
  attempt: { owner: string; leaseMs: number },
): Promise<Claim | undefined> {
  return database.transaction(async (transaction) => {
    const row = await findDueJob(transaction, [...handlers.keys()])
    if (row === undefined) return undefined
    const now = await readSharedNow(transaction)
    if (row.state === 'running') return takeBack(transaction, row, { handlers, now })
    const changes = {
      state: 'running',
      owner: attempt.owner,
      due_at: now + attempt.leaseMs,
      attempts: row.attempts + 1,
      started_at: now,
    } as const
    await updateJob(transaction, { id: row.id }, changes)
    return { type: 'claimed', row: { ...row, ...changes } }
  })
}

async function takeBack(
  transaction: Transaction,
  row: JobRow,
  { handlers, now }: { handlers: JobHandlers; now: number },
): Promise<Claim> {
  const losses = row.losses + 1
  const text = `attempt ${row.attempts} was lost: its process ended, or did not answer`
  await insertJobLines(transaction, row.id, [{ at: now, text }])
  const isGivenUp = row.is_cancelling === 1 || losses >= MAX_LOSSES
  if (isGivenUp) {
    const state = row.is_cancelling === 1 ? 'cancelled' : 'failed'
    await endJob(transaction, row, { handlers, now, state, error: text, losses })
  } else {
    const due = { state: 'queued', due_at: now + backOffMs(losses) } as const
    await updateJob(transaction, { id: row.id }, { ...due, owner: null, losses, error: text })
  }
  return { type: 'lost', row, isGivenUp }
}

/** How a job ends. */
export interface Ending {
  readonly handlers: JobHandlers
  /** The time of the database. */
  readonly now: number
  readonly state: 'done' | 'failed' | 'cancelled'
  readonly error: string | null
  readonly losses?: number
}

/** Ends a job, and adds the next one of its kind where that has a schedule. */
export async function endJob(transaction: Transaction, row: JobRow, ending: Ending): Promise<void> {
  const { handlers, now, state, error, losses = row.losses } = ending
  const changes = { state, error, losses, ended_at: now, owner: null, live_key: null, is_cancelling: 0 } as const
  await updateJob(transaction, { id: row.id }, changes)
  const schedule = handlers.get(row.kind)?.schedule
  // What was added by hand has another key.
  if (schedule !== undefined && row.key === scheduledKey(row.kind)) {
    await scheduleJob(transaction, { kind: row.kind, schedule }, row.state === 'queued' ? row.due_at : now)
  }
}

/** Adds the next job of a kind that has a schedule, unless it is there already. */
export async function scheduleJob(
  transaction: Transaction,
  { kind, schedule }: { kind: string; schedule: string },
  after: number,
): Promise<void> {
  const next = new Cron(schedule).nextRun(new Date(after))
  // An expression that names a year has a last time.
  if (next === null) return
  const key = scheduledKey(kind)
  await insertJob(transaction, { kind, key, payload: {} }, next.getTime())
  // The schedule may be another one since, or the clock set back.
  await bringForward(transaction, key, next.getTime())
}

const scheduledKey = (kind: string) => `${SCHEDULED_KEY}${kind}`
