import { Readable } from 'node:stream'
import { parseReference, parseRepositoryName, RegistryError } from '@entrepot/oci'
import type { ManagementRoute } from '../context.ts'

/** Sends an image, or an index with all its images, as a tar archive; it ends with two empty blocks when it is whole. */
export const exportImages: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/exports/images',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const query = new URL(request.url, 'http://localhost').searchParams
    const form = query.get('form')
    if (form !== 'oci-layout' && form !== 'docker-archive') {
      throw new RegistryError('UNSUPPORTED', 'the "form" is neither oci-layout nor docker-archive', { status: 400 })
    }
    const repository = parseRepositoryName(query.get('repository') ?? '')
    const reference = parseReference(query.get('reference') ?? '')
    const archive = await context.transfers.exportImages({ form, repository, reference })
    return reply.type('application/x-tar').send(Readable.from(archive, { objectMode: false }))
  },
})
