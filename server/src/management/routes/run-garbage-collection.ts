import { RegistryError } from '@entrepot/oci'
import type { ManagementRoute } from '../context.ts'

/** Collects garbage now, and answers when that has ended with what was done. */
export const runGarbageCollection: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/garbage-collection/runs',
  config: { right: 'manage', handler: 'management' },
  handler: async (_request, reply) => {
    if (context.isReadOnly) {
      throw new RegistryError('UNSUPPORTED', 'nothing is removed while "storage.maintenance.readonly" is enabled')
    }
    return reply.send(await context.garbage.runs.run('command'))
  },
})
