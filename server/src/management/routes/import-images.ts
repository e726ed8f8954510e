import { isAbsolute } from 'node:path'
import { RegistryError } from '@entrepot/oci'
import { type ManagementRoute, refuseReadOnly } from '../context.ts'
import { sendEvents } from '../event-stream.ts'
import { fieldOf, requiredField } from '../fields.ts'

/** Pushes the images of an OCI layout or of what `docker save` writes, and tells how it goes on as lines of JSON. */
export const importImages: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/imports/images',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    refuseReadOnly(context)
    const source = requiredField(request.body, 'source')
    const form = requiredField(request.body, 'form')
    if (!isAbsolute(source) || (form !== 'oci-layout' && form !== 'docker-archive')) {
      const message = 'the "source" is not an absolute path, or the "form" neither oci-layout nor docker-archive'
      throw new RegistryError('UNSUPPORTED', message, { status: 400 })
    }
    const as = fieldOf(request.body, 'as')
    return sendEvents(reply, async (tell, signal) => context.transfers.importImages({ form, source, as }, tell, signal))
  },
})
