import { type Digest, RegistryError } from '@entrepot/oci'

export function unknownUpload(id: string): RegistryError {
  return new RegistryError(
    'BLOB_UPLOAD_UNKNOWN',
    'there is no such upload here: it is finished, cancelled, expired, or was never started; start another',
    { detail: { upload: id.slice(0, 256) } },
  )
}

export function outOfOrder(id: string, sizeBytes: number): RegistryError {
  return new RegistryError('RANGE_INVALID', `the upload has ${sizeBytes} bytes; the next chunk must begin there`, {
    detail: { upload: id, received: sizeBytes },
  })
}

export function wrongLength(): RegistryError {
  return new RegistryError('SIZE_INVALID', 'the body is not as long as its headers say; send the chunk again')
}

export function digestMismatch(expected: Digest, actual: Digest): RegistryError {
  return new RegistryError('DIGEST_INVALID', `the content is ${actual}, not ${expected}; upload it again`, {
    detail: { digest: expected, actual },
  })
}

/** A request that was cut off with its process is made again: it is not the client that sent other bytes. */
export function cutOff(): RegistryError {
  const message =
    'the registry was gone in the middle of this upload, and what it has of it is not what you sent: start another'
  return new RegistryError('UNAVAILABLE', message, { status: 503, retryAfterSeconds: 1 })
}

/** The collector of another instance came in between: nothing is acknowledged. */
export function contentGone(): RegistryError {
  return new RegistryError('UNAVAILABLE', 'the content was removed before it could be made known: push it again', {
    status: 503,
    retryAfterSeconds: 1,
  })
}

export function tooManyUploads(maxOpen: number): RegistryError {
  return new RegistryError(
    'TOOMANYREQUESTS',
    `${maxOpen} uploads are open, and all in use; finish or cancel some, or raise "limits.uploads"`,
    { retryAfterSeconds: 30 },
  )
}
