import { isAbsolute } from 'node:path'
import { RegistryError } from '@entrepot/oci'
import { isBucketUrl } from '#transfer'
import { accessIn } from '../bucket-access.ts'
import type { ManagementRoute } from '../context.ts'
import { sendEvents } from '../event-stream.ts'
import { requiredField } from '../fields.ts'

/** Makes a backup in a folder or a bucket, and tells how it goes on as lines of JSON. */
export const createBackup: ManagementRoute = (context) => ({
  method: 'POST',
  url: '/api/v1/backups',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const target = requiredField(request.body, 'target')
    if (!isAbsolute(target) && !isBucketUrl(target)) {
      throw new RegistryError('UNSUPPORTED', 'the "target" is no absolute path, and no "s3://<bucket>/<prefix>"', {
        status: 400,
      })
    }
    const { body } = request
    const keep: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'keep') : undefined
    if (keep !== undefined && !(typeof keep === 'number' && Number.isSafeInteger(keep) && keep > 0)) {
      throw new RegistryError('UNSUPPORTED', '"keep" is not a number of backups above 0', { status: 400 })
    }
    const options = { target, access: accessIn(body), keep }
    return sendEvents(reply, async (tell, signal) => context.transfers.backup(options, tell, signal))
  },
})
