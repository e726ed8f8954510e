import type { ManagementRoute } from '../context.ts'
import { requiredNumber } from '../fields.ts'

/** Ends a job that has not ended; one that runs is told to, and ends within seconds. */
export const cancelJob: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/jobs/:id/cancellation',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => reply.send(await context.jobs.cancel(requiredNumber(request.params, 'id'))),
})
