import { readBody } from '#platform/http'
import { parseChunkHeaders } from '../content-range.ts'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { queryDigest } from '../query.ts'
import { replyWithBlob } from './upload-replies.ts'

/** Ends an upload, perhaps with its last or only bytes: it becomes a blob (distribution-spec, "Pushing blobs"). */
export const putUpload: OciRoute = (context) => ({
  method: 'PUT',
  url: '/v2/:name/blobs/uploads/:upload',
  config: { right: 'push', handler: 'blob_upload_chunk' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const digest = queryDigest(request, 'digest')
    const announced = parseChunkHeaders(request.headers['content-range'], request.headers['content-length'])
    await context.uploads.finish(repository, pathParameter(request, 'upload'), {
      digest,
      last: { ...announced, bytes: readBody(request, context.limits) },
    })
    return replyWithBlob(context, reply, repository, digest).send()
  },
})
