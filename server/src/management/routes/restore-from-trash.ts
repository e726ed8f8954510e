import { parseReference, parseTag } from '@entrepot/oci'
import { restoreFromTrash as restore } from '#formats/oci'
import { refuseReadOnly, type ManagementRoute } from '../context.ts'
import { fieldOf, requiredField } from '../fields.ts'

/** Brings a deleted tag or manifest back: `repository`, `reference` and, for a tag, `as` stand in the body. */
export const restoreFromTrash: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/trash/restorations',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    refuseReadOnly(context)
    const asTag = fieldOf(request.body, 'as')
    const restored = await restore(context.manifests, {
      repository: requiredField(request.body, 'repository'),
      reference: parseReference(requiredField(request.body, 'reference')),
      asTag: asTag === undefined ? undefined : parseTag(asTag),
    })
    return reply.send(restored)
  },
})
