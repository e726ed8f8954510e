/**
 * What the OCI and Docker specifications say, as pure functions: digests, names, media types, manifests and error codes.
 * No input or output happens here; the server, the command line and the console share it.
 */
export { type Acceptance, parseAccept } from './accept.ts'
export type { Descriptor, Platform } from './descriptor.ts'
export {
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  digestHex,
  isDigest,
  isDigestAlgorithm,
  parseDigest,
  referrersTag,
} from './digest.ts'
export { ERROR_STATUSES, type ErrorCode, RegistryError } from './errors.ts'
export { type ImageIndex, type ImageManifest, type Manifest, parseManifest } from './manifest.ts'
export { isForeignLayerType, isIndexType, OCI_IMAGE_INDEX } from './media-types.ts'
export { isTag, parseReference, parseRepositoryName, parseTag, type Reference } from './reference.ts'
export { JsonError, parseStrictJson } from './strict-json.ts'
