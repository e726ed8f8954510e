import { parseAccept, parseReference } from '@entrepot/oci'
import { matchesEtag } from '#platform/http'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'

/** Pulls a manifest by tag or digest (distribution-spec, "Pulling manifests"). */
export const getManifest: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/manifests/:reference',
  config: { right: 'pull', handler: 'manifest' },
  handler: async (request, reply) => {
    const reference = parseReference(pathParameter(request, 'reference'))
    const repository = requestedRepository(request)
    const manifest = await context.manifestReader.get(repository, reference, parseAccept(request.headers.accept))
    const etag = `"${manifest.digest}"`
    void reply.headers({ 'docker-content-digest': manifest.digest, etag })
    if ('tag' in reference) void reply.header('vary', 'Accept')
    else void reply.headers(context.delivery.cacheHeaders?.immutable(context.access.isPublic(repository)) ?? {})
    const known = request.headers['if-none-match']
    if (known !== undefined && matchesEtag(known, etag)) return reply.code(304).send()
    void reply.headers({ 'content-type': manifest.mediaType, 'content-length': manifest.bytes.byteLength })
    return reply.send(manifest.bytes)
  },
})
