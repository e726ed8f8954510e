import { constants, Http2ServerRequest } from 'node:http2'
import { RegistryError } from '@entrepot/oci'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { DatabaseUnavailableError, isSqliteError, WritesStoppedError } from '#platform/database'
import { DiskFullError, isDiskFull } from '#platform/disk'
import { ObjectStoreError } from '#platform/s3'
import { BodyInterruptedError } from './body.ts'

/** How long a client that was refused may go on sending its body, so that it gets to read the answer. */
const LINGER_MS = 10_000

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** The kernel's words for a disk that fails or lacks what is needed to use it. */
const FAILED_CODES = new Set(['EIO', 'EROFS', 'ENXIO', 'ENODEV', 'ESTALE', 'EUCLEAN', 'EMFILE', 'ENFILE', 'ETIMEDOUT'])
/** SQLite's result codes for it; the lower byte says what, the rest where (sqlite.org/rescode.html). */
const SQLITE_FAILED = new Set([5, 8, 10, 14])

/** The body that every error is answered with (distribution-spec, "Error Codes"). */
export function errorBody(error: RegistryError): string {
  const detail = error.detail === undefined ? {} : { detail: error.detail }
  return JSON.stringify({ errors: [{ code: error.code, message: error.message, ...detail }] })
}

/** Turns whatever was thrown into an answer; what is no HTTP request at all is answered by `broken-requests.ts`. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (error instanceof BodyInterruptedError) {
    request.log.info({ reason: error.message }, 'a request was interrupted')
    cutOff(request)
    return
  }
  const known = toRegistryError(error)
  if (known.status >= 500) request.log.error({ err: error }, 'a request failed')
  if (!request.raw.complete) endRest(request)
  if (reply.sent) return
  if (known.status === 405) void reply.header('allow', allowedMethods(request).join(', '))
  void reply
    .code(known.status)
    .headers(known.headers)
    // Prepared for the answer that there is not: they would count more than Cache-Control.
    .removeHeader('cdn-cache-control')
    .removeHeader('surrogate-control')
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(errorBody(known))
}

/**
 * The methods that the URL of a request takes, but for the one that was just refused (RFC 9110, section 15.5.6);
 * empty where there is nothing at the URL.
 */
export function allowedMethods(request: FastifyRequest): string[] {
  const [url = '/'] = request.url.split('?', 1)
  const routed = METHODS.filter((method) => request.server.findRoute({ url, method }) !== null)
  return routed.length === 0 ? [] : [...routed, 'OPTIONS'].filter((method) => method !== request.method)
}

function toRegistryError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  if (isStorageFull(error)) {
    const message = error instanceof DiskFullError ? error.message : 'the storage is full; nothing was stored'
    return new RegistryError('UNAVAILABLE', message, {
      headers: { 'retry-after': '60' },
      cause: error,
    })
  }
  if (error instanceof WritesStoppedError || error instanceof ObjectStoreError || isStorageFailed(error)) {
    return new RegistryError('UNAVAILABLE', 'the storage failed; nothing was acknowledged: try again later', {
      status: 503,
      headers: { 'retry-after': '60' },
      cause: error,
    })
  }
  if (error instanceof DatabaseUnavailableError) {
    return new RegistryError('UNAVAILABLE', 'the database is not available; nothing was acknowledged: try again', {
      status: 503,
      headers: { 'retry-after': '5' },
      cause: error,
    })
  }
  if (isFastifyError(error) && error.statusCode !== undefined && error.statusCode < 500) {
    return new RegistryError('UNSUPPORTED', error.message, { status: error.statusCode, cause: error })
  }
  return new RegistryError('UNKNOWN', 'the server failed; its log has the reason under the request id', {
    cause: error,
  })
}

function isStorageFull(error: unknown): boolean {
  // The disk of the database's server may be another one than that of the content.
  return error instanceof DatabaseUnavailableError ? error.isFull : isDiskFull(error)
}

function isStorageFailed(error: unknown): boolean {
  if (isSqliteError(error)) return SQLITE_FAILED.has(error.errcode & 0xff)
  return error instanceof Error && 'code' in error && 'syscall' in error && FAILED_CODES.has(String(error.code))
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('FST_')
}

/**
 * Ends the sending of a body that nobody wants, so that the client still gets to read the answer.
 * HTTP/2 has a word for it (RFC 9113, section 8.1); in HTTP/1.1 the rest passes for a moment, then the connection ends.
 */
function endRest({ raw }: FastifyRequest): void {
  raw.on('error', () => {})
  if (raw instanceof Http2ServerRequest) {
    raw.stream.once('finish', () => raw.stream.close(constants.NGHTTP2_NO_ERROR))
    return
  }
  raw.resume()
  const timer = setTimeout(() => raw.destroy(), LINGER_MS)
  raw.once('close', () => clearTimeout(timer))
}

/** Ends a request without an answer: in HTTP/2 its stream, in HTTP/1.1 its connection. */
function cutOff({ raw }: FastifyRequest): void {
  if (raw instanceof Http2ServerRequest) raw.stream.close(constants.NGHTTP2_CANCEL)
  else raw.destroy()
}
