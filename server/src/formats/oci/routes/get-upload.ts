import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { replyWithUpload } from './upload-replies.ts'

/** Tells how far an upload is (distribution-spec, "Pushing a blob in chunks"). */
export const getUpload: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/blobs/uploads/:upload',
  config: { right: 'push', handler: 'blob_upload_chunk' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const upload = await context.uploads.status(repository, pathParameter(request, 'upload'))
    return replyWithUpload(context, reply, repository, upload).code(204).send()
  },
})
