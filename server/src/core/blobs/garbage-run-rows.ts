import type { Generated } from 'kysely'
import type { Connection, Transaction } from '#platform/database'
import type { GarbageRun, RunStarter } from './garbage-runs.ts'

type RunTables = {
  /** The last runs of the collector. */
  garbage_runs: {
    id: Generated<number>
    started_at: number
    duration_ms: number
    started_by: RunStarter
    unlinked_blobs: number
    removed_contents: number
    removed_bytes: number
    error: string | null
  }
}

const MAX_RUNS = 100

/** Notes a run that has ended; of those before, the last 99 stay. */
export async function insertRun(transaction: Transaction, run: GarbageRun): Promise<void> {
  const tables = transaction.withTables<RunTables>()
  const { id } = await tables
    .insertInto('garbage_runs')
    .values({
      started_at: Date.parse(run.startedAt),
      duration_ms: run.durationMs,
      started_by: run.startedBy,
      unlinked_blobs: run.unlinkedBlobs,
      removed_contents: run.removedContents,
      removed_bytes: run.removedBytes,
      error: run.error,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await tables
    .deleteFrom('garbage_runs')
    .where('id', '<=', id - MAX_RUNS)
    .execute()
}

/** The runs that are noted, the last one first. */
export async function listRuns(connection: Connection): Promise<GarbageRun[]> {
  const rows = await connection
    .withTables<RunTables>()
    .selectFrom('garbage_runs')
    .selectAll()
    .orderBy('id', 'desc')
    .execute()
  return rows.map((row) => ({
    startedAt: new Date(row.started_at).toISOString(),
    startedBy: row.started_by,
    durationMs: row.duration_ms,
    unlinkedBlobs: row.unlinked_blobs,
    removedContents: row.removed_contents,
    removedBytes: row.removed_bytes,
    error: row.error,
  }))
}
