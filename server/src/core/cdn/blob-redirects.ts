import { type Digest, digestAlgorithm, digestHex } from '@entrepot/oci'
import type { UrlSigner } from './url-signing.ts'

/** Where blobs are pulled from. */
export type RedirectOptions =
  | {
      readonly to: 'registry'
      /** A CDN that asks this registry: scheme and host. */
      readonly origin: string
      /** What stands before `/v2/` in the registry's URLs: empty, or a path without a slash at the end. */
      readonly prefix: string
    }
  | {
      readonly to: 'storage'
      /** What serves the storage itself. */
      readonly baseUrl: string
    }

/** Leads those who pull blobs to another place. */
export interface BlobRedirects {
  /**
   * The URL from which a blob is pulled now; undefined where it is to be served here.
   * @param isPublic whether anyone may have it: what is not needs a signature.
   */
  urlOf(repository: string, digest: Digest, isPublic: boolean): string | undefined
}

/** @param signer undefined leaves URLs without a signature. */
export function createBlobRedirects(options: RedirectOptions, signer: UrlSigner | undefined): BlobRedirects {
  const place = placeOf(options)
  return {
    urlOf: (repository, digest, isPublic) => {
      const url = place(repository, digest)
      if (signer !== undefined) return signer.sign(url, Date.now())
      return isPublic ? url : undefined
    },
  }
}

function placeOf(options: RedirectOptions): (repository: string, digest: Digest) => string {
  if (options.to === 'registry') {
    const base = `${options.origin.replace(/\/+$/, '')}${options.prefix}/cdn/v2`
    return (repository, digest) => `${base}/${repository}/blobs/${digest}`
  }
  const base = `${options.baseUrl.replace(/\/+$/, '')}/blobs`
  return (_repository, digest) => {
    const hex = digestHex(digest)
    return `${base}/${digestAlgorithm(digest)}/${hex.slice(0, 2)}/${hex}`
  }
}
