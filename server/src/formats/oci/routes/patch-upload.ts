import { readBody } from '#platform/http'
import { parseChunkHeaders } from '../content-range.ts'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { replyWithUpload } from './upload-replies.ts'

/** Appends a chunk, or a stream of unknown length, to an upload (distribution-spec, "Pushing a blob in chunks"). */
export const patchUpload: OciRoute = (context) => ({
  method: 'PATCH',
  url: '/v2/:name/blobs/uploads/:upload',
  config: { right: 'push', handler: 'blob_upload_chunk' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const announced = parseChunkHeaders(request.headers['content-range'], request.headers['content-length'])
    const upload = await context.uploads.append(repository, pathParameter(request, 'upload'), {
      ...announced,
      bytes: readBody(request, context.limits),
    })
    return replyWithUpload(context, reply, repository, upload).code(202).send()
  },
})
