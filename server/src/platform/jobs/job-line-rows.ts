import type { Connection, Transaction } from '#platform/database'
import type { JobLine } from './job.ts'
import type { JobTables } from './job-rows.ts'

const MAX_LINES = 200
const MAX_LINE_LENGTH = 1_000

/** A line that is not written yet; the time is in milliseconds since 1970. */
export interface NewJobLine {
  readonly at: number
  readonly text: string
}

/** Adds lines to the log of a job, of which the last 200 stay. */
export async function insertJobLines(
  transaction: Transaction,
  jobId: number,
  lines: readonly NewJobLine[],
): Promise<void> {
  const kept = lines.slice(-MAX_LINES)
  if (kept.length === 0) return
  const tables = transaction.withTables<JobTables>()
  const { last } = await tables
    .selectFrom('job_lines')
    .select(({ fn }) => fn.max<number | null>('number').as('last'))
    .where('job_id', '=', jobId)
    .executeTakeFirstOrThrow()
  const first = (last ?? 0) + 1
  const rows = kept.map(({ at, text }, index) => ({
    job_id: jobId,
    number: first + index,
    at,
    text: text.slice(0, MAX_LINE_LENGTH),
  }))
  await tables.insertInto('job_lines').values(rows).execute()
  const oldest = first + kept.length - MAX_LINES
  await tables.deleteFrom('job_lines').where('job_id', '=', jobId).where('number', '<', oldest).execute()
}

/** The log of a job, from its beginning, as far as it is kept. */
export async function listJobLines(connection: Connection, jobId: number): Promise<JobLine[]> {
  const rows = await connection
    .withTables<JobTables>()
    .selectFrom('job_lines')
    .select(['at', 'text'])
    .where('job_id', '=', jobId)
    .orderBy('number')
    .execute()
  return rows.map(({ at, text }) => ({ at: new Date(at).toISOString(), text }))
}
