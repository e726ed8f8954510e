import {
  type BlobRedirects,
  createBlobRedirects,
  createCacheHeaders,
  createPresignedRedirects,
  createUrlSigner,
  type RedirectOptions,
  type SigningOptions,
} from '#core/cdn'
import type { Delivery } from '#formats/oci'
import type { Config } from './config/index.ts'
import type { ContentLinks } from './content-store.ts'

/**
 * Makes what stands between clients and the registry: a CDN's headers and signatures, and where blobs are pulled from.
 * @throws the system's error where a private key cannot be read.
 */
export function createDelivery(config: Config, prefix: string, links: ContentLinks): Delivery {
  const { cdn } = config
  const signing = cdn === undefined ? undefined : cdnSigning(cdn.signing)
  const signer = signing === undefined ? undefined : createUrlSigner(signing)
  const cacheHeaders =
    cdn === undefined ? undefined : createCacheHeaders({ edgeSeconds: cdn.edgeTtl, browserSeconds: cdn.browserTtl })
  return { cacheHeaders, signer, redirects: redirectsOf(config, { prefix, links, signer }) }
}

function redirectsOf(
  config: Config,
  { prefix, links, signer }: { prefix: string; links: ContentLinks; signer: Delivery['signer'] },
): BlobRedirects | undefined {
  const { cdn, storage, middleware } = config
  if (storage.redirect.disable) return undefined
  const [active] = middleware.storage.filter(({ disabled }) => !disabled)
  if (active !== undefined) {
    const { baseurl, keypairid, privatekey, duration } = active.options
    const to: RedirectOptions = { to: 'storage', baseUrl: baseurl, pathOf: links.pathOf }
    if (active.name === 'redirect') return createBlobRedirects(to, undefined)
    return createBlobRedirects(to, createUrlSigner(cloudFront({ keypairid, privatekey, duration })))
  }
  if (cdn?.baseurl !== undefined) return createBlobRedirects({ to: 'registry', origin: cdn.baseurl, prefix }, signer)
  // A CDN before the registry is to keep the blobs.
  return cdn !== undefined || links.presign === undefined ? undefined : createPresignedRedirects(links.presign)
}

type CdnSigning = NonNullable<Config['cdn']>['signing']

function cdnSigning(signing: CdnSigning): SigningOptions | undefined {
  const { type, secret = '', duration } = signing
  if (type === 'none') return undefined
  return type === 'cloudfront' ? cloudFront(signing) : { type, secret, durationMs: duration }
}

/** The schema has refused what lacks a key. */
function cloudFront(options: Pick<CdnSigning, 'keypairid' | 'privatekey' | 'duration'>): SigningOptions {
  const { keypairid: keyPairId = '', privatekey: privateKey = '', duration: durationMs } = options
  return { type: 'cloudfront', keyPairId, privateKey, durationMs }
}
