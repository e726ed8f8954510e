import { isAbsolute } from 'node:path'
import { RegistryError } from '@entrepot/oci'
import { type ManagementRoute, refuseReadOnly } from '../context.ts'
import { sendEvents } from '../event-stream.ts'
import { fieldOf, requiredField } from '../fields.ts'

/** Takes over a folder of CNCF distribution, and tells how it goes on as lines of JSON. */
export const importDistribution: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/imports/distribution',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    refuseReadOnly(context)
    const source = requiredField(request.body, 'source')
    if (!isAbsolute(source)) {
      throw new RegistryError('UNSUPPORTED', 'the "source" is not an absolute path', { status: 400 })
    }
    const isUpdatingTags = fieldOf(request.body, 'existingTags') === 'update'
    return sendEvents(reply, async (tell, signal) =>
      context.transfers.importDistribution({ source, isUpdatingTags }, tell, signal),
    )
  },
})
