import type { Digest } from '@entrepot/oci'
import type { FastifyReply } from 'fastify'
import type { UploadProgress } from '#core/blobs'
import { uploadedRange } from '../content-range.ts'
import type { OciContext } from '../context.ts'

/** Says where an upload goes on and how far it is. */
export function replyWithUpload(
  context: OciContext,
  reply: FastifyReply,
  repository: string,
  upload: UploadProgress,
): FastifyReply {
  return reply.headers({
    location: context.links.upload(repository, upload.id),
    range: uploadedRange(upload.sizeBytes),
    'docker-upload-uuid': upload.id,
  })
}

/** Says where a blob that is now there can be pulled. */
export function replyWithBlob(
  context: OciContext,
  reply: FastifyReply,
  repository: string,
  digest: Digest,
): FastifyReply {
  return reply.code(201).headers({ location: context.links.blob(repository, digest), 'docker-content-digest': digest })
}
