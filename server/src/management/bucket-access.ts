import type { BucketAccess } from '#transfer'
import { fieldOf } from './fields.ts'

/** How a bucket is reached, as `access` in a body says; credentials are whole or not there. */
export function accessIn(body: unknown): BucketAccess {
  const access: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'access') : undefined
  const given: unknown = typeof access === 'object' && access !== null ? Reflect.get(access, 'credentials') : undefined
  const accessKeyId = fieldOf(given, 'accessKeyId')
  const secretAccessKey = fieldOf(given, 'secretAccessKey')
  const sessionToken = fieldOf(given, 'sessionToken')
  return {
    region: fieldOf(access, 'region'),
    endpoint: fieldOf(access, 'endpoint'),
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined
        ? undefined
        : { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) },
  }
}
