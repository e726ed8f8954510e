import { type DigestAlgorithm, isDigestAlgorithm, parseDigest, parseRepositoryName, RegistryError } from '@entrepot/oci'
import type { FastifyRequest } from 'fastify'
import { readBody } from '#platform/http'
import { type OciContext, type OciRoute, requestedRepository } from '../context.ts'
import { queryDigest, queryValue } from '../query.ts'
import { mountBlob } from '../repository-blobs.ts'
import { replyWithBlob, replyWithUpload } from './upload-replies.ts'

/**
 * Opens an upload; or takes a whole blob in one request, or from another repository
 * (distribution-spec, "Pushing blobs", "Mounting a blob from another repository").
 */
export const startUpload: OciRoute = (context) => ({
  method: 'POST',
  url: '/v2/:name/blobs/uploads/',
  config: { right: 'push', handler: 'blob_upload' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const mount = queryValue(request, 'mount')
    if (mount !== undefined && (await tryMount(context, request, repository))) {
      return replyWithBlob(context, reply, repository, parseDigest(mount)).send()
    }
    if (mount === undefined && queryValue(request, 'digest') !== undefined) {
      const digest = queryDigest(request, 'digest')
      await context.uploads.receive(repository, readBody(request, context.limits), digest)
      return replyWithBlob(context, reply, repository, digest).send()
    }
    const upload = await context.uploads.start(repository, readAlgorithm(request))
    const { chunkBytes } = context.limits
    if (chunkBytes !== undefined) void reply.header('oci-chunk-min-length', chunkBytes)
    return replyWithUpload(context, reply, repository, upload).code(202).send()
  },
})

async function tryMount(context: OciContext, request: FastifyRequest, repository: string): Promise<boolean> {
  const digest = queryDigest(request, 'mount')
  const from = queryValue(request, 'from')
  return mountBlob(context, repository, {
    digest,
    from: from === undefined ? undefined : parseRepositoryName(from),
    mayPull: (name) => context.access.allows('pull', name),
  })
}

function readAlgorithm(request: FastifyRequest): DigestAlgorithm {
  const name = queryValue(request, 'digest-algorithm') ?? 'sha256'
  if (isDigestAlgorithm(name)) return name
  throw new RegistryError('DIGEST_INVALID', '"digest-algorithm" must be sha256 or sha512', {
    detail: { algorithm: name.slice(0, 100) },
  })
}
