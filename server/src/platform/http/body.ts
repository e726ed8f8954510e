import { Http2ServerRequest } from 'node:http2'
import { RegistryError } from '@entrepot/oci'
import type { FastifyRequest } from 'fastify'
import { JoinedChunks } from './joined-chunks.ts'

export interface BodyLimits {
  /** How long a client may send nothing in the middle of a body, in milliseconds. */
  readonly idleTimeoutMs: number
}

/** The connection ended before the whole body came; there is nobody left to answer. */
export class BodyInterruptedError extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options)
    this.name = 'BodyInterruptedError'
  }
}

/**
 * The request's body, chunk by chunk, as fast as it is asked for.
 * @throws BodyInterruptedError when the client goes away or stays silent for too long.
 */
export async function* readBody(request: FastifyRequest, limits: BodyLimits): AsyncIterable<Uint8Array> {
  const source = request.raw
  // Only waiting for the client counts as idle, not the time that the disk takes.
  let isWaiting = true
  const idle = setTimeout(() => {
    if (isWaiting) source.destroy(new BodyInterruptedError(`the client sent nothing for ${limits.idleTimeoutMs} ms`))
  }, limits.idleTimeoutMs)
  const chunks = new JoinedChunks()
  let failure: unknown
  try {
    // Whoever stops reading refuses the rest with an answer: the request must outlive the loop.
    for await (const chunk of source.iterator({ destroyOnReturn: false })) {
      isWaiting = false
      // `yield*` would wait for each of them a second time, which is felt with a chunk for every 64 KiB.
      if (chunk instanceof Uint8Array) for (const ready of chunks.add(chunk)) yield ready
      isWaiting = true
      idle.refresh()
    }
  } catch (error) {
    failure = isAborted(error) ? new BodyInterruptedError('the client went away', { cause: error }) : error
  } finally {
    clearTimeout(idle)
  }
  yield* chunks.rest()
  if (failure !== undefined) throw failure
  if (!source.complete || isStreamClosed(source)) throw new BodyInterruptedError('the client went away')
}

/**
 * The whole of a body that may have up to `maxBytes` bytes.
 * @throws RegistryError SIZE_INVALID with status 413 as soon as it is known to have more.
 * @throws BodyInterruptedError
 */
export async function readWholeBody(request: FastifyRequest, maxBytes: number, limits: BodyLimits): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of readBody(request, limits)) {
    sizeBytes += chunk.byteLength
    if (sizeBytes > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge(maxBytes: number): RegistryError {
  return new RegistryError('SIZE_INVALID', `the body is larger than the ${maxBytes} bytes that are allowed here`, {
    status: 413,
    detail: { limit: maxBytes },
  })
}

/** Over HTTP/2 a body that was cut off counts as complete, but its stream is closed before it was answered. */
function isStreamClosed(request: unknown): boolean {
  return request instanceof Http2ServerRequest && request.stream.closed
}

function isAborted(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'EPIPE', 'ECONNABORTED'].includes(String(error.code))
}
