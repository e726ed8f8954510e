import type { Generated, Insertable, Selectable } from 'kysely'
import { type Connection, isPostgres, sharedNow, sql, type Transaction } from '#platform/database'
import type { Job, JobState, NewJob } from './job.ts'

export type JobTables = {
  jobs: {
    id: Generated<number>
    kind: string
    key: string | null
    /** The key until the job has ended, so that it is unique among those that have not. */
    live_key: string | null
    payload: string
    state: JobState
    /** Of a queued job: not before; of one that runs: until then it belongs to its owner. */
    due_at: number
    /** The attempt that has it. */
    owner: string | null
    attempts: number
    /** How often nothing more was heard of an attempt. */
    losses: number
    is_cancelling: 0 | 1
    created_at: number
    started_at: number | null
    ended_at: number | null
    progress: string | null
    error: string | null
  }
  job_lines: { job_id: number; number: number; at: number; text: string }
}

/** What keys of jobs begin with that were added for a time of a schedule. */
export const SCHEDULED_KEY = 'schedule of '

export type JobRow = Selectable<JobTables['jobs']>

/**
 * Adds a job, unless one with its key is there that has not ended.
 * @param dueAt when it may begin; at once unless given.
 */
export async function insertJob(transaction: Transaction, job: NewJob, dueAt?: number): Promise<void> {
  const tables = transaction.withTables<JobTables>()
  if (job.key !== undefined) {
    const live = await tables.selectFrom('jobs').select('id').where('live_key', '=', job.key).executeTakeFirst()
    if (live !== undefined) return
  }
  const now = await readSharedNow(transaction)
  const row: Insertable<JobTables['jobs']> = {
    kind: job.kind,
    key: job.key ?? null,
    live_key: job.key ?? null,
    payload: JSON.stringify(job.payload),
    state: 'queued',
    due_at: dueAt ?? now,
    attempts: 0,
    losses: 0,
    is_cancelling: 0,
    created_at: now,
  }
  await tables.insertInto('jobs').values(row).execute()
}

/** The time of the database, in milliseconds since 1970. */
export async function readSharedNow(connection: Connection): Promise<number> {
  const { rows } = await sql<{ now: number }>`select ${sharedNow(connection)} as now`.execute(connection)
  return rows[0]?.now ?? Date.now()
}

/** Whether there is a job of these kinds that can be begun, or whose attempt is lost. */
export async function hasDueJob(connection: Connection, kinds: readonly string[]): Promise<boolean> {
  return (await dueJobs(connection, kinds).executeTakeFirst()) !== undefined
}

/** The next one, which no other instance takes until the transaction has ended. */
export async function findDueJob(transaction: Transaction, kinds: readonly string[]): Promise<JobRow | undefined> {
  const query = dueJobs(transaction, kinds)
  return (isPostgres(transaction) ? query.forUpdate().skipLocked() : query).executeTakeFirst()
}

function dueJobs(connection: Connection, kinds: readonly string[]) {
  return connection
    .withTables<JobTables>()
    .selectFrom('jobs')
    .selectAll()
    .where('state', 'in', ['queued', 'running'])
    .where('due_at', '<=', sharedNow(connection))
    .where('kind', 'in', [...kinds])
    .orderBy('due_at')
    .orderBy('id')
    .limit(1)
}

/** @param changes what differs from now on. @param owner the attempt that must have the job; undefined for none. */
export async function updateJob(
  transaction: Transaction,
  { id, owner }: { id: number; owner?: string },
  changes: Partial<JobRow>,
): Promise<boolean> {
  const update = transaction.withTables<JobTables>().updateTable('jobs').set(changes).where('id', '=', id)
  const owned = owner === undefined ? update : update.where('owner', '=', owner).where('state', '=', 'running')
  return (await owned.executeTakeFirst()).numUpdatedRows > 0n
}

export async function findJobRow(connection: Connection, id: number): Promise<JobRow | undefined> {
  return connection.withTables<JobTables>().selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirst()
}

/** Whether a job with that key has not ended. */
export async function hasLiveKey(connection: Connection, key: string): Promise<boolean> {
  const tables = connection.withTables<JobTables>()
  return (await tables.selectFrom('jobs').select('id').where('live_key', '=', key).executeTakeFirst()) !== undefined
}

/** Which jobs are listed. */
export interface JobFilter {
  readonly state?: JobState | undefined
  readonly kind?: string | undefined
  /** Only jobs that were added before this one. */
  readonly before?: number | undefined
  readonly limit: number
}

/** Jobs, the newest first. */
export async function listJobs(connection: Connection, filter: JobFilter): Promise<Job[]> {
  let query = connection
    .withTables<JobTables>()
    .selectFrom('jobs')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return (await query.execute()).map(toJob)
}

export function toJob(row: JobRow): Job {
  return {
    id: row.id,
    kind: row.kind,
    key: row.key,
    state: row.state,
    attempts: row.attempts,
    createdAt: toText(row.created_at) ?? '',
    startedAt: toText(row.started_at),
    endedAt: toText(row.ended_at),
    dueAt: row.state === 'queued' ? toText(row.due_at) : null,
    progress: row.progress,
    error: row.error,
    payload: JSON.parse(row.payload),
  }
}

const toText = (timeMs: number | null) => (timeMs === null ? null : new Date(timeMs).toISOString())

/** How many jobs are in each state that is not the end of a job that went well. */
export async function countJobs(connection: Connection): Promise<Map<JobState, number>> {
  const rows = await connection
    .withTables<JobTables>()
    .selectFrom('jobs')
    .select(({ fn }) => ['state' as const, fn.countAll<number>().as('jobs')])
    .where('state', 'in', ['queued', 'running', 'failed'])
    .groupBy('state')
    .execute()
  return new Map(rows.map(({ state, jobs }) => [state, jobs]))
}

/** Forgets some jobs that ended before a time. @returns how many; 0 when there are none left. */
export async function deleteEndedJobs(transaction: Transaction, before: number, limit: number): Promise<number> {
  const tables = transaction.withTables<JobTables>()
  const ended = await tables
    .selectFrom('jobs')
    .select('id')
    .where('state', 'in', ['done', 'failed', 'cancelled'])
    .where('ended_at', '<', before)
    .limit(limit)
    .execute()
  const ids = ended.map(({ id }) => id)
  if (ids.length === 0) return 0
  await tables.deleteFrom('job_lines').where('job_id', 'in', ids).execute()
  await tables.deleteFrom('jobs').where('id', 'in', ids).execute()
  return ids.length
}

/** Lets the job with a key that has not begun yet begin at a time, unless it begins before that. */
export async function bringForward(transaction: Transaction, key: string, dueAt: number): Promise<void> {
  await transaction
    .withTables<JobTables>()
    .updateTable('jobs')
    .set({ due_at: dueAt })
    .where('live_key', '=', key)
    .where('state', '=', 'queued')
    .where('due_at', '>', dueAt)
    .execute()
}

/** Brings what a clock that was set back since made too late near again; schedules have their own times. */
export async function correctJobTimes(transaction: Transaction, latest: number): Promise<void> {
  await transaction
    .withTables<JobTables>()
    .updateTable('jobs')
    .set({ due_at: latest })
    .where('state', 'in', ['queued', 'running'])
    .where('due_at', '>', latest)
    .where((where) => where.or([where('key', 'is', null), where('key', 'not like', `${SCHEDULED_KEY}%`)]))
    .execute()
}
