export const OCI_IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_IMAGE_INDEX = 'application/vnd.oci.image.index.v1+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'

const IMAGE_TYPES = new Set<string>([OCI_IMAGE_MANIFEST, DOCKER_MANIFEST])
const INDEX_TYPES = new Set<string>([OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST])

/** Schema 1 manifests, plain and signed: refused, because their layers cannot be verified. */
const SCHEMA1_TYPES = new Set<string>([
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
])

/** Layers that may be kept elsewhere and need not be in the repository (image-spec, "Non-distributable layers"). */
const FOREIGN_LAYER_TYPES = new Set<string>([
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
])

export const isImageType = (mediaType: string): boolean => IMAGE_TYPES.has(mediaType)
export const isIndexType = (mediaType: string): boolean => INDEX_TYPES.has(mediaType)
export const isSchema1Type = (mediaType: string): boolean => SCHEMA1_TYPES.has(mediaType)
export const isForeignLayerType = (mediaType: string): boolean => FOREIGN_LAYER_TYPES.has(mediaType)

/** The media type of a header without parameters, in lower case (RFC 9110, section 8.3.1). */
export function bareMediaType(header: string): string {
  const semicolon = header.indexOf(';')
  return (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase()
}
