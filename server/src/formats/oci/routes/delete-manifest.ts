import { parseReference } from '@entrepot/oci'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { deleteManifest as removeManifest } from '../manifest-deletion.ts'

/** Deletes a tag, or a manifest with its tags (distribution-spec, "Deleting tags", "Deleting Manifests"). */
export const deleteManifest: OciRoute = (context) => ({
  method: 'DELETE',
  url: '/v2/:name/manifests/:reference',
  config: { right: 'delete', handler: 'manifest' },
  handler: async (request, reply) => {
    const reference = parseReference(pathParameter(request, 'reference'))
    await removeManifest(context.deletion, requestedRepository(request), reference)
    return reply.code(202).send()
  },
})
