import { type Digest, parseDigest, RegistryError } from '@entrepot/oci'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ByteRange, matchesEtag, parseRange } from '#platform/http'
import { type OciContext, pathParameter, requestedRepository } from '../context.ts'

/** A browser that is led to a blob must neither run nor guess it. */
const BLOB_HEADERS = {
  'accept-ranges': 'bytes',
  'content-disposition': 'attachment',
  'content-security-policy': "default-src 'none'; sandbox",
  'content-type': 'application/octet-stream',
  'x-content-type-options': 'nosniff',
}

/** How one blob is to be answered. */
export interface BlobReply {
  readonly cacheHeaders: Readonly<Record<string, string>>
  /** Where it is to be pulled from; undefined sends it from here. */
  readonly location?: string | undefined
}

/**
 * Answers with the blob that a request names, whole or in part (distribution-spec, "Pulling blobs"; RFC 9110, sections 13
 * and 14), or leads to it.
 */
export async function replyWithBlob(
  context: OciContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { cacheHeaders, location }: BlobReply,
): Promise<unknown> {
  const digest = parseDigest(pathParameter(request, 'digest'))
  const isRead = request.method === 'GET' && location === undefined
  const { sizeBytes, content } = await context.blobReader.get(requestedRepository(request), digest, isRead)
  let isHandedOn = false
  try {
    const range = prepareReply(request, reply, { digest, sizeBytes, cacheHeaders })
    if (range !== undefined && location !== undefined) return await lead(reply, location)
    if (range === undefined || !isRead || sizeBytes === 0) return await reply.send()
    if (Buffer.isBuffer(content)) return await reply.send(content.subarray(range.start, range.end + 1))
    isHandedOn = true
    return await context.sender.send(reply, content, range)
  } finally {
    if (!isHandedOn && !Buffer.isBuffer(content)) await content.close()
  }
}

/** The URL holds for a while only, so that nobody keeps it. */
async function lead(reply: FastifyReply, location: string): Promise<FastifyReply> {
  for (const name of Object.keys(reply.getHeaders())) {
    if (/^(?:accept-ranges|etag|content-|cdn-|surrogate-)/.test(name)) reply.removeHeader(name)
  }
  return reply.code(307).headers({ location, 'cache-control': 'no-store', 'content-length': 0 }).send()
}

/**
 * Sets the status and headers of the answer.
 * @returns what of the blob is to be sent; undefined when the client has it already.
 * @throws RegistryError RANGE_INVALID
 */
function prepareReply(
  request: FastifyRequest,
  reply: FastifyReply,
  blob: { digest: Digest; sizeBytes: number; cacheHeaders: BlobReply['cacheHeaders'] },
): ByteRange | undefined {
  const { digest, sizeBytes, cacheHeaders } = blob
  const etag = `"${digest}"`
  void reply.headers({ ...BLOB_HEADERS, ...cacheHeaders, 'docker-content-digest': digest, etag })
  const known = request.headers['if-none-match']
  if (known !== undefined && matchesEtag(known, etag)) {
    void reply.code(304)
    return undefined
  }
  const ifRange = request.headers['if-range']
  const isPartial = request.method === 'GET' && (ifRange === undefined || ifRange === etag)
  const range = parseRange(isPartial ? request.headers.range : undefined, sizeBytes)
  if (range === 'unsatisfiable') {
    throw new RegistryError('RANGE_INVALID', `the blob has ${sizeBytes} bytes`, {
      headers: { 'content-range': `bytes */${sizeBytes}` },
    })
  }
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 }
  void reply.header('content-length', end - start + 1)
  if (range !== undefined) void reply.code(206).header('content-range', `bytes ${start}-${end}/${sizeBytes}`)
  return { start, end }
}
