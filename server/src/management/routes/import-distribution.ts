import { isAbsolute } from 'node:path'
import { RegistryError } from '@entrepot/oci'
import { isBucketUrl } from '#transfer'
import { accessIn } from '../bucket-access.ts'
import { type ManagementRoute, refuseReadOnly } from '../context.ts'
import { sendEvents } from '../event-stream.ts'
import { fieldOf, requiredField } from '../fields.ts'

/** Takes over what CNCF distribution has stored, and tells how it goes on as lines of JSON. */
export const importDistribution: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/imports/distribution',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    refuseReadOnly(context)
    const source = requiredField(request.body, 'source')
    if (!isAbsolute(source) && !isBucketUrl(source)) {
      throw new RegistryError(
        'UNSUPPORTED',
        'the "source" is no absolute path, and no "s3://<bucket>/<rootdirectory>"',
        {
          status: 400,
        },
      )
    }
    const isUpdatingTags = fieldOf(request.body, 'existingTags') === 'update'
    return sendEvents(reply, async (tell, signal) =>
      context.transfers.importDistribution({ source, access: accessIn(request.body), isUpdatingTags }, tell, signal),
    )
  },
})
