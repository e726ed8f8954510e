import { isAbsolute } from 'node:path'
import { RegistryError } from '@entrepot/oci'
import type { ManagementRoute } from '../context.ts'
import { sendEvents } from '../event-stream.ts'
import { requiredField } from '../fields.ts'

/** Makes a backup in a folder, and tells how it goes on as lines of JSON. */
export const createBackup: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/backups',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const target = requiredField(request.body, 'target')
    if (!isAbsolute(target)) {
      throw new RegistryError('UNSUPPORTED', 'the "target" is not an absolute path', { status: 400 })
    }
    const { body } = request
    const keep: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'keep') : undefined
    if (keep !== undefined && !(typeof keep === 'number' && Number.isSafeInteger(keep) && keep > 0)) {
      throw new RegistryError('UNSUPPORTED', '"keep" is not a number of backups above 0', { status: 400 })
    }
    return sendEvents(reply, async (tell, signal) => context.transfers.backup({ target, keep }, tell, signal))
  },
})
