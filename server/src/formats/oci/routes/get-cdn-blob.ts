import { type OciRoute, requestedRepository } from '../context.ts'
import { replyWithBlob } from './blob-replies.ts'

/**
 * Gives a blob to a CDN, which asks with the URL that its client was led to: a valid signature in it is a right of its
 * own, for who has it was allowed to pull. Without one, the right to pull is needed, as everywhere.
 */
export const getCdnBlob: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/cdn/v2/:name/blobs/:digest',
  config: { right: 'public', handler: 'cdn-blob' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const { cacheHeaders, signer } = context.delivery
    const isSigned = signer?.verifies(request.originalUrl, Date.now()) === true
    if (!isSigned) context.access.decide('pull', repository)
    const isPublic = context.access.isPublic(repository)
    const kept = isSigned && !isPublic ? cacheHeaders?.signed : cacheHeaders?.immutable(isPublic)
    return replyWithBlob(context, request, reply, { cacheHeaders: kept ?? {} })
  },
})
