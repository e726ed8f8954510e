import { createHash, randomBytes } from 'node:crypto'
import type { HttpConnection } from './http-connection.ts'
import { KIB } from './payload.ts'
import { expectStatus, uploadBytes } from './upload.ts'

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'

/** Content with its digest. */
export interface Content {
  readonly digest: string
  readonly bytes: Buffer
}

/** A small image: a configuration, layers of 1 KiB, and the manifest that names them. */
export interface Image {
  readonly blobs: readonly Content[]
  readonly manifest: Content
}

/** Makes an image whose layers nobody has seen before. */
export function makeImage(layerCount: number): Image {
  const config = contentOf(
    Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers' } })),
  )
  const layers = Array.from({ length: layerCount }, () => contentOf(randomBytes(KIB)))
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
  }
  return { blobs: [config, ...layers], manifest: contentOf(Buffer.from(JSON.stringify(manifest, null, 2))) }
}

/** Pushes the blobs of an image and then its manifest under a tag. */
export async function pushImage(
  connection: HttpConnection,
  repository: string,
  image: Image,
  tag: string,
): Promise<void> {
  for (const blob of image.blobs) await uploadBytes(connection, repository, blob)
  await putManifest(connection, repository, image.manifest, tag)
}

/**
 * Puts a manifest, whose blobs are in the repository.
 * @param reference a tag, or a digest, which may be followed by `?tag=<tag>&tag=<tag>`
 */
export async function putManifest(
  connection: HttpConnection,
  repository: string,
  manifest: Content,
  reference: string,
): Promise<void> {
  const answer = await connection.request({
    method: 'PUT',
    path: `/v2/${repository}/manifests/${reference}`,
    headers: { 'Content-Type': MANIFEST_TYPE },
    body: { bytes: [manifest.bytes], length: manifest.bytes.length },
  })
  expectStatus(answer, 201, 'manifest PUT')
  if (answer.headers.get('docker-content-digest') !== manifest.digest) throw new Error('a manifest got another digest')
}

function contentOf(bytes: Buffer): Content {
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` }
}

function descriptor(mediaType: string, content: Content) {
  return { mediaType, digest: content.digest, size: content.bytes.length }
}
