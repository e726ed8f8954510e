type Headers = Readonly<Record<string, string>>

/** How long what never changes is kept, in seconds. */
export interface CacheLifetimes {
  readonly edgeSeconds: number
  readonly browserSeconds: number
}

/** What answers tell those who could keep them. */
export interface CacheHeaders {
  /** For what a digest names. @param isPublic whether anyone may have it: nothing else is kept for others. */
  immutable(isPublic: boolean): Headers
  /** For what a CDN was given because the URL is signed: it keeps it, and must check the signature of each request. */
  readonly signed: Headers
  /** For what may change at any moment: each use asks again. */
  readonly changing: Headers
}

/**
 * `CDN-Cache-Control` (RFC 9213) and `Surrogate-Control` are for CDNs alone, and count there instead of `Cache-Control`.
 */
export function createCacheHeaders({ edgeSeconds, browserSeconds }: CacheLifetimes): CacheHeaders {
  const forClients = (scope: 'public' | 'private') => ({ 'cache-control': `${scope}, max-age=${browserSeconds}` })
  const kept = forEdges(`max-age=${edgeSeconds}`)
  const notKept = forEdges('no-store')
  return {
    immutable: (isPublic) =>
      isPublic ? { ...forClients('public'), ...kept } : { ...forClients('private'), ...notKept },
    signed: { ...forClients('private'), ...kept },
    changing: { 'cache-control': 'no-cache', ...notKept },
  }
}

const forEdges = (value: string): Headers => ({ 'cdn-cache-control': value, 'surrogate-control': value })
