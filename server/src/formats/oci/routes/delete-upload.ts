import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'

/** Gives up an upload (distribution-spec, "Cancel a blob upload"). */
export const deleteUpload: OciRoute = (context) => ({
  method: 'DELETE',
  url: '/v2/:name/blobs/uploads/:upload',
  config: { right: 'push', handler: 'blob_upload_chunk' },
  handler: async (request, reply) => {
    await context.uploads.cancel(requestedRepository(request), pathParameter(request, 'upload'))
    return reply.code(204).send()
  },
})
