import { RegistryError } from '@entrepot/oci'

const CONTENT_RANGE = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d{1,15}|\*))?$/
const WHOLE_NUMBER = /^\d{1,15}$/

/** What a request says of the bytes in its body. */
export interface AnnouncedChunk {
  readonly start: number | undefined
  readonly length: number | undefined
}

/**
 * Reads `Content-Range` and `Content-Length` of a chunk (distribution-spec, "Pushing a blob in chunks"): the range is
 * `<first>-<last>`, both inclusive, without a unit; RFC 9110's form is understood too.
 * @throws RegistryError RANGE_INVALID, SIZE_INVALID
 */
export function parseChunkHeaders(contentRange: string | undefined, contentLength: string | undefined): AnnouncedChunk {
  if (contentLength !== undefined && !WHOLE_NUMBER.test(contentLength)) {
    throw new RegistryError('SIZE_INVALID', 'Content-Length must be a number of bytes')
  }
  const length = contentLength === undefined ? undefined : Number(contentLength)
  if (contentRange === undefined) return { start: undefined, length }
  const match = CONTENT_RANGE.exec(contentRange)
  const start = Number(match?.[1])
  const end = Number(match?.[2])
  if (match === null || end < start) {
    throw new RegistryError('RANGE_INVALID', 'Content-Range must be "<first byte>-<last byte>", such as "0-1023"')
  }
  if (length !== undefined && length !== end - start + 1) {
    throw new RegistryError(
      'SIZE_INVALID',
      `Content-Range says ${end - start + 1} bytes, Content-Length says ${length}`,
    )
  }
  return { start, length: end - start + 1 }
}

/** The `Range` header that says how far an upload is; old clients cannot read `0--1`, so nothing is `0-0` too. */
export function uploadedRange(sizeBytes: number): string {
  return `0-${Math.max(0, sizeBytes - 1)}`
}
