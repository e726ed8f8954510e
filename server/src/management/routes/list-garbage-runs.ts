import type { GarbageProgress, GarbageRun } from '#core/blobs'
import type { ManagementRoute } from '../context.ts'

/** The runs of the collector: before, now and next. */
export interface GarbageRunsAnswer {
  /** ISO 8601; null while nothing is waited for. */
  readonly nextRunAt: string | null
  readonly underWay: GarbageProgress | null
  /** The last 100, the last one first. */
  readonly runs: readonly GarbageRun[]
}

/** Tells of the last runs, of the one under way and of when the next begins. */
export const listGarbageRuns: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/garbage-collection/runs',
  config: { right: 'manage', handler: 'management' },
  handler: async (_request, reply) => {
    const { runs, schedule } = context.garbage
    const answer: GarbageRunsAnswer = {
      nextRunAt: schedule.nextRunAt?.toISOString() ?? null,
      underWay: runs.underWay,
      runs: await runs.list(),
    }
    return reply.send(answer)
  },
})
