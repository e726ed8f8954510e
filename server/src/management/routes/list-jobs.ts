import { RegistryError } from '@entrepot/oci'
import { isJobState } from '#platform/jobs'
import type { ManagementRoute } from '../context.ts'
import { fieldOf, numberField } from '../fields.ts'

const PAGE_SIZE = 100
const MAX_PAGE_SIZE = 1_000

/** Lists jobs, the newest first: `state`, `kind`, `limit` and, for the next page, `before` stand in the query. */
export const listJobs: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/jobs',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const { query } = request
    const state = fieldOf(query, 'state')
    if (state !== undefined && !isJobState(state)) {
      throw new RegistryError('UNSUPPORTED', `no job is ever "${state}"`, { status: 400 })
    }
    const limit = Math.min(numberField(query, 'limit') ?? PAGE_SIZE, MAX_PAGE_SIZE)
    const filter = { state, kind: fieldOf(query, 'kind'), before: numberField(query, 'before'), limit }
    return reply.send(await context.jobs.list(filter))
  },
})
