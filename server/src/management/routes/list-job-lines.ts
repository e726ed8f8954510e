import type { JobLine } from '#platform/jobs'
import type { ManagementRoute } from '../context.ts'
import { requiredNumber } from '../fields.ts'

/** The log of a job. */
export interface JobLinesAnswer {
  readonly lines: readonly JobLine[]
}

/** Gives what a job has written, from its beginning; of a long log the end. */
export const listJobLines: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/jobs/:id/lines',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const answer: JobLinesAnswer = { lines: await context.jobs.lines(requiredNumber(request.params, 'id')) }
    return reply.send(answer)
  },
})
