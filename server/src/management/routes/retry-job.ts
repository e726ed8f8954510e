import type { ManagementRoute } from '../context.ts'
import { requiredNumber } from '../fields.ts'

/** Has a job tried again that failed or was cancelled. */
export const retryJob: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/jobs/:id/retry',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => reply.send(await context.jobs.retry(requiredNumber(request.params, 'id'))),
})
