import { forgetTrash } from '#formats/oci'
import { refuseReadOnly, type ManagementRoute } from '../context.ts'
import { fieldOf } from '../fields.ts'

/** Forgets all that rests in the trash now, or what a `repository` in the query has there. */
export const emptyTrash: ManagementRoute = (context) => ({
  method: 'DELETE',
  url: '/api/v1/trash',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    refuseReadOnly(context)
    const repository = fieldOf(request.query, 'repository')
    const forgotten = await forgetTrash(context.deletions, { before: Number.MAX_SAFE_INTEGER, repository })
    return reply.send(forgotten)
  },
})
