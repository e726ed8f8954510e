import { parseDigest, RegistryError } from '@entrepot/oci'
import { matchesEtag, parseRange } from '#platform/http'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { findBlob } from '../repository-blobs.ts'

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
    const blob = await findBlob(context, requestedRepository(request), digest)
    const etag = `"${digest}"`
    void reply.headers({ ...BLOB_HEADERS, 'docker-content-digest': digest, etag })
    const known = request.headers['if-none-match']
    if (known !== undefined && matchesEtag(known, etag)) return reply.code(304).send()

    const ifRange = request.headers['if-range']
    const header =
      request.method === 'GET' && (ifRange === undefined || ifRange === etag) ? request.headers.range : undefined
    const range = parseRange(header, blob.sizeBytes)
    if (range === 'unsatisfiable') {
      throw new RegistryError('RANGE_INVALID', `the blob has ${blob.sizeBytes} bytes`, {
        headers: { 'content-range': `bytes */${blob.sizeBytes}` },
      })
    }
    const { start, end } = range ?? { start: 0, end: blob.sizeBytes - 1 }
    void reply.header('content-length', end - start + 1)
    if (range !== undefined) void reply.code(206).header('content-range', `bytes ${start}-${end}/${blob.sizeBytes}`)
    if (request.method === 'HEAD' || blob.sizeBytes === 0) return reply.send()
    return reply.send(blob.read(start, end))
  },
})
