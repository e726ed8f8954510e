import { createHash, randomBytes } from 'node:crypto'

export type Algorithm = 'sha256' | 'sha512'

/** Each promise about content is kept for both registered algorithms. */
export const ALGORITHMS: readonly Algorithm[] = ['sha256', 'sha512']

export const mediaTypes = {
  octetStream: 'application/octet-stream',
  image: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  empty: 'application/vnd.oci.empty.v1+json',
  dockerImage: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

/** A content descriptor of the image specification. */
export interface Descriptor {
  mediaType: string
  digest: string
  size: number
  artifactType?: string
  annotations?: Record<string, string>
  urls?: string[]
  data?: string
  platform?: { os: string; architecture: string }
}

export function digestOf(bytes: Buffer | string, algorithm: Algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** A digest of nothing that was ever pushed. */
export function unknownDigest(algorithm: Algorithm = 'sha256'): string {
  return digestOf(randomBytes(32), algorithm)
}

/** A repository that no other test uses. */
export function uniqueName(prefix = 'conformance'): string {
  return `${prefix}/${randomBytes(8).toString('hex')}`
}

/** Content that no other test has pushed. */
export function randomBlob(sizeBytes = 256): Buffer {
  return randomBytes(sizeBytes)
}

/** The descriptor of content as one field of a manifest, typed anew. */
export function typed(descriptor: Descriptor, mediaType: string): Descriptor {
  return { ...descriptor, mediaType }
}

/** An OCI image manifest of one config and its layers; further fields are laid over it. */
export function imageDocument(config: Descriptor, layers: Descriptor[], fields: Record<string, unknown> = {}): Buffer {
  return json({
    schemaVersion: 2,
    mediaType: mediaTypes.image,
    config: config.mediaType === mediaTypes.octetStream ? typed(config, mediaTypes.config) : config,
    layers: layers.map((layer) =>
      layer.mediaType === mediaTypes.octetStream ? typed(layer, mediaTypes.layer) : layer,
    ),
    ...fields,
  })
}

/** An OCI image index; further fields are laid over it. */
export function indexDocument(manifests: Descriptor[], fields: Record<string, unknown> = {}): Buffer {
  return json({ schemaVersion: 2, mediaType: mediaTypes.index, manifests, ...fields })
}

/** A Docker schema 2 manifest. */
export function dockerImageDocument(config: Descriptor, layers: Descriptor[]): Buffer {
  return json({
    schemaVersion: 2,
    mediaType: mediaTypes.dockerImage,
    config: typed(config, mediaTypes.dockerConfig),
    layers: layers.map((layer) => typed(layer, mediaTypes.dockerLayer)),
  })
}

/** A Docker manifest list. */
export function dockerListDocument(manifests: Descriptor[]): Buffer {
  return json({ schemaVersion: 2, mediaType: mediaTypes.dockerList, manifests })
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
