import type { Digest } from '@entrepot/oci'
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
      /** Where content is in it; undefined where there is none. */
      readonly pathOf: (digest: Digest) => Promise<string | undefined>
    }

/** Leads those who pull blobs to another place. */
export interface BlobRedirects {
  /**
   * The URL from which a blob is pulled now; undefined where it is to be served here.
   * @param isPublic whether anyone may have it: what is not needs a signature.
   */
  urlOf(repository: string, digest: Digest, isPublic: boolean): Promise<string | undefined>
}

/** @param signer undefined leaves URLs without a signature. */
export function createBlobRedirects(options: RedirectOptions, signer: UrlSigner | undefined): BlobRedirects {
  const place = placeOf(options)
  return {
    urlOf: async (repository, digest, isPublic) => {
      if (signer === undefined && !isPublic) return undefined
      const url = await place(repository, digest)
      return url === undefined ? undefined : (signer?.sign(url, Date.now()) ?? url)
    },
  }
}

/** Leads to URLs of the storage that it has signed itself. */
export function createPresignedRedirects(presign: (digest: Digest) => Promise<string | undefined>): BlobRedirects {
  return { urlOf: async (_repository, digest) => presign(digest) }
}

function placeOf(options: RedirectOptions): (repository: string, digest: Digest) => Promise<string | undefined> {
  if (options.to === 'registry') {
    const base = `${options.origin.replace(/\/+$/, '')}${options.prefix}/cdn/v2`
    return async (repository, digest) => `${base}/${repository}/blobs/${digest}`
  }
  const base = options.baseUrl.replace(/\/+$/, '')
  return async (_repository, digest) => {
    const path = await options.pathOf(digest)
    return path === undefined ? undefined : `${base}/${path}`
  }
}
