/**
 * What stands between clients and the registry: CDNs that keep what never changes, and where blobs are pulled from
 * instead. This folder says which headers and which URLs; it knows no HTTP, and not what a manifest is.
 */
export { type CacheHeaders, createCacheHeaders } from './cache-headers.ts'
export {
  type BlobRedirects,
  createBlobRedirects,
  createPresignedRedirects,
  type RedirectOptions,
} from './blob-redirects.ts'
export { createCloudflarePurge, createPurging, PURGE_KIND, type Purging } from './purging.ts'
export { createUrlSigner, type SigningOptions, type UrlSigner } from './url-signing.ts'
