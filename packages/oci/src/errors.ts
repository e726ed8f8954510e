/**
 * Every error a registry answers with: its HTTP status and what it means.
 * Codes are those of the distribution specification ("Error Codes") and, where it names none, of CNCF distribution,
 * because clients match on them.
 */
export const ERROR_CODES = {
  BLOB_UNKNOWN: { status: 404, meaning: 'blob unknown to registry' },
  BLOB_UPLOAD_INVALID: { status: 400, meaning: 'blob upload invalid' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, meaning: 'blob upload unknown to registry' },
  DENIED: { status: 403, meaning: 'requested access to the resource is denied' },
  DIGEST_INVALID: { status: 400, meaning: 'provided digest did not match uploaded content' },
  MANIFEST_BLOB_UNKNOWN: { status: 400, meaning: 'manifest references a manifest or blob unknown to registry' },
  MANIFEST_INVALID: { status: 400, meaning: 'manifest invalid' },
  MANIFEST_UNKNOWN: { status: 404, meaning: 'manifest unknown to registry' },
  NAME_INVALID: { status: 400, meaning: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, meaning: 'repository name not known to registry' },
  PAGINATION_NUMBER_INVALID: { status: 400, meaning: 'invalid number of results requested' },
  RANGE_INVALID: { status: 416, meaning: 'invalid content range' },
  SIZE_INVALID: { status: 400, meaning: 'provided length did not match content length' },
  TAG_INVALID: { status: 400, meaning: 'manifest tag did not match URI' },
  TOOMANYREQUESTS: { status: 429, meaning: 'too many requests' },
  UNAUTHORIZED: { status: 401, meaning: 'authentication required' },
  UNAVAILABLE: { status: 503, meaning: 'service unavailable' },
  UNKNOWN: { status: 500, meaning: 'unknown error' },
  UNSUPPORTED: { status: 405, meaning: 'the operation is unsupported' },
} as const satisfies Record<string, { status: number; meaning: string }>

export type ErrorCode = keyof typeof ERROR_CODES

export interface RegistryErrorOptions {
  /** Facts for a program that reads the answer; any JSON. */
  detail?: unknown
  /** The status, where the specification asks for another than the code's usual one (412, 413, 414). */
  status?: number
  /** Headers that go with the answer, such as `Range` or `Retry-After`. */
  headers?: Record<string, string>
  cause?: unknown
}

/** An outcome that the caller of the registry is told about, as an error of the distribution specification. */
export class RegistryError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly detail: unknown
  readonly headers: Record<string, string>

  /** The message tells a person what is wrong and, where it is not obvious, what to do. */
  constructor(code: ErrorCode, message: string, options: RegistryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RegistryError'
    this.code = code
    this.status = options.status ?? ERROR_CODES[code].status
    this.detail = options.detail
    this.headers = options.headers ?? {}
  }
}
