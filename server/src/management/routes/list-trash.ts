import { listTrash as list } from '#formats/oci'
import type { ManagementRoute } from '../context.ts'
import { fieldOf } from '../fields.ts'

const PAGE_SIZE = 1_000

/** Lists what rests in the trash, a page at a time: `repository` and `after` stand in the query. */
export const listTrash: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/trash',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const repository = fieldOf(request.query, 'repository')
    const after = fieldOf(request.query, 'after')
    return reply.send(await list(context.manifests.database.read, { repository, after, limit: PAGE_SIZE }))
  },
})
