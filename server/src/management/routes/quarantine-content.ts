import { parseDigest } from '@entrepot/oci'
import { refuseReadOnly, type ManagementRoute } from '../context.ts'
import { requiredField } from '../fields.ts'

/** Moves the content that `digest` in the body names away, if it is damaged: whoever asks may have seen it long ago. */
export const quarantineContent: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/quarantine',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    refuseReadOnly(context)
    const isMoved = await context.manifests.blobs.examine(parseDigest(requiredField(request.body, 'digest')))
    return reply.send({ isMoved })
  },
})
