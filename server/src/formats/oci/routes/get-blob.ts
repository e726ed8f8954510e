import { parseDigest } from '@entrepot/oci'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { replyWithBlob } from './blob-replies.ts'

/** Without a CDN only who pulls keeps a blob: the registry decides each time who may. */
const WITHOUT_CDN = { 'cache-control': 'private, max-age=31536000, immutable' }

/** Pulls a blob, from here or from where blobs are served for the registry. */
export const getBlob: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/blobs/:digest',
  config: { right: 'pull', handler: 'blob' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const digest = parseDigest(pathParameter(request, 'digest'))
    const { cacheHeaders, redirects } = context.delivery
    const isPublic = context.access.isPublic(repository)
    return replyWithBlob(context, request, reply, {
      cacheHeaders: cacheHeaders?.immutable(isPublic) ?? WITHOUT_CDN,
      location: request.method === 'GET' ? await redirects?.urlOf(repository, digest, isPublic) : undefined,
    })
  },
})
