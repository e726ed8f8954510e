import { parseDigest } from '@entrepot/oci'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { deleteBlob as removeBlob } from '../repository-blobs.ts'

/** Deletes a blob of a repository (distribution-spec, "Deleting Blobs"). */
export const deleteBlob: OciRoute = (context) => ({
  method: 'DELETE',
  url: '/v2/:name/blobs/:digest',
  config: { right: 'delete', handler: 'blob' },
  handler: async (request, reply) => {
    const digest = parseDigest(pathParameter(request, 'digest'))
    const { blobs, deletion } = context
    await removeBlob({ ...deletion, blobs }, requestedRepository(request), digest)
    return reply.code(202).send()
  },
})
