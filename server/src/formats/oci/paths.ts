import { type Digest, parseRepositoryName } from '@entrepot/oci'

/**
 * The URLs of the registry, below an optional prefix:
 *
 *     /v2/                                    /v2/_catalog
 *     /v2/<name>/manifests/<tag or digest>    /v2/<name>/blobs/<digest>
 *     /v2/<name>/blobs/uploads/               /v2/<name>/blobs/uploads/<id>
 *     /v2/<name>/tags/list                    /v2/<name>/referrers/<digest>
 *     /v2/_oci/ext/discover                   /v2/<name>/_oci/ext/discover
 *     /cdn/v2/<name>/blobs/<digest>           the same blob, for a CDN: it is never led back to the CDN
 *
 * Only this file knows that `<name>` contains slashes.
 */

/**
 * Folds the repository's name into one encoded segment, so that a router of plain segments can route it.
 * The end of the path decides what is name, for a name may contain `manifests` or `blobs` itself. The name stays as it
 * was sent, escapes included: it is checked later, and never decoded.
 */
export function foldRepositoryName(url: string, prefix: string): string {
  // Some clients ask for the base without its last slash.
  if (url === `${prefix}/v2` || url.startsWith(`${prefix}/v2?`)) return `${prefix}/v2/${url.slice(prefix.length + 3)}`
  const base = [`${prefix}/v2/`, `${prefix}/cdn/v2/`].find((beginning) => url.startsWith(beginning))
  if (base === undefined) return url
  const query = url.indexOf('?')
  const path = query < 0 ? url : url.slice(0, query)
  const segments = path.slice(base.length).split('/')
  const tail = tailLength(segments)
  if (tail === 0 || segments.length <= tail) return url
  const name = segments.slice(0, -tail).join('/')
  const rest = segments.slice(-tail).map((segment) => encodeURIComponent(decode(segment)))
  return `${base}${encodeURIComponent(name)}/${rest.join('/')}${query < 0 ? '' : url.slice(query)}`
}

/** How many segments follow the name; 0 where there is no name. */
function tailLength(segments: readonly string[]): number {
  const [third, second, last] = [segments.at(-3), segments.at(-2), segments.at(-1)]
  if (third === '_oci' && second === 'ext') return 3
  if (third === 'blobs' && second === 'uploads') return 3
  if (second === 'blobs' || second === 'manifests' || second === 'referrers') return 2
  if (second === 'tags' && last === 'list') return 2
  return 0
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** URLs that answers carry. */
export interface Links {
  manifest(repository: string, digest: Digest): string
  blob(repository: string, digest: Digest): string
  upload(repository: string, id: string): string
  /** The value of a `Link` header that leads to the next page (RFC 8288). */
  next(path: string, query: URLSearchParams | Record<string, string>): string
}

/** The path of a manifest by digest or tag, without what may stand before `/v2/`. */
export const manifestPath = (repository: string, reference: string) => `/v2/${repository}/manifests/${reference}`

/** The paths of a blob: for clients, and for a CDN that they were led to. */
export function blobPaths(repository: string, digest: Digest): readonly string[] {
  const path = `/v2/${repository}/blobs/${digest}`
  return [path, `/cdn${path}`]
}

/**
 * @param prefix what stands before `/v2/`: empty, or a path without a slash at the end.
 * @param origin scheme and host where they are to be named; empty makes URLs relative to the server's root, which is
 * right behind every proxy.
 */
export function createLinks(prefix: string, origin: string): Links {
  const base = `${origin}${prefix}/v2`
  return {
    manifest: (repository, digest) => `${base}/${repository}/manifests/${digest}`,
    blob: (repository, digest) => `${base}/${repository}/blobs/${digest}`,
    upload: (repository, id) => `${base}/${repository}/blobs/uploads/${id}`,
    next: (path, query) => `<${base}/${path}?${new URLSearchParams(query).toString()}>; rel="next"`,
  }
}

/**
 * The repository that a routed request names, if it names one.
 * @throws RegistryError NAME_INVALID
 */
export function repositoryOf(params: unknown): string | undefined {
  if (typeof params !== 'object' || params === null || !('name' in params)) return undefined
  return parseRepositoryName(String(params.name))
}
