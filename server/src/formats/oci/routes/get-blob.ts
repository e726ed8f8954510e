import { type Digest, parseDigest, RegistryError } from '@entrepot/oci'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ByteRange, matchesEtag, parseRange } from '#platform/http'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'

/** A browser that is led to a blob must neither run nor guess it. */
const BLOB_HEADERS = {
  'accept-ranges': 'bytes',
  'cache-control': 'private, max-age=31536000, immutable',
  'content-disposition': 'attachment',
  'content-security-policy': "default-src 'none'; sandbox",
  'content-type': 'application/octet-stream',
  'x-content-type-options': 'nosniff',
}

/** Pulls a blob, whole or in part (distribution-spec, "Pulling blobs"; RFC 9110, sections 13 and 14). */
export const getBlob: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/blobs/:digest',
  config: { right: 'pull', handler: 'blob' },
  handler: async (request, reply) => {
    const digest = parseDigest(pathParameter(request, 'digest'))
    const isRead = request.method === 'GET'
    const { sizeBytes, content } = await context.blobReader.get(requestedRepository(request), digest, isRead)
    let isHandedOn = false
    try {
      const range = prepareReply(request, reply, { digest, sizeBytes })
      if (range === undefined || !isRead || sizeBytes === 0) return await reply.send()
      if (Buffer.isBuffer(content)) return await reply.send(content.subarray(range.start, range.end + 1))
      isHandedOn = true
      return await context.sender.send(reply, content, range)
    } finally {
      if (!isHandedOn && !Buffer.isBuffer(content)) await content.close()
    }
  },
})

/**
 * Sets the status and headers of the answer.
 * @returns what of the blob is to be sent; undefined when the client has it already.
 * @throws RegistryError RANGE_INVALID
 */
function prepareReply(
  request: FastifyRequest,
  reply: FastifyReply,
  { digest, sizeBytes }: { digest: Digest; sizeBytes: number },
): ByteRange | undefined {
  const etag = `"${digest}"`
  void reply.headers({ ...BLOB_HEADERS, 'docker-content-digest': digest, etag })
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
