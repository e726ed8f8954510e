import type { ManagementRoute } from '../context.ts'
import { requiredNumber } from '../fields.ts'

/** Tells of one job. */
export const getJob: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/jobs/:id',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => reply.send(await context.jobs.get(requiredNumber(request.params, 'id'))),
})
