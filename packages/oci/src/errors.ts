/**
 * Every error a registry answers with, and its usual HTTP status. What each means, and what to do, stands in
 * `docs/reference/errors-page.ts`, for the reference.
 * Codes are those of the distribution specification ("Error Codes") and, where it names none, of CNCF distribution,
 * because clients match on them.
 */
export const ERROR_STATUSES = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  SIZE_INVALID: 400,
  TAG_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  // A full disk; one that fails is answered with 503.
  UNAVAILABLE: 507,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof ERROR_STATUSES

export interface RegistryErrorOptions {
  /** Facts for a program that reads the answer; any JSON. */
  detail?: unknown
  /** The status, where the specification asks for another than the code's usual one (412, 413, 414). */
  status?: number
  /** Headers that go with the answer, such as `Range`. */
  headers?: Record<string, string>
  /** When to try again. */
  retryAfterSeconds?: number
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
    this.status = options.status ?? ERROR_STATUSES[code]
    this.detail = options.detail
    const { headers, retryAfterSeconds } = options
    this.headers = { ...headers, ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }) }
  }
}
