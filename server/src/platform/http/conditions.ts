/**
 * Whether a list of entity tags, as `If-Match` and `If-None-Match` carry them, names this one or is `*`
 * (RFC 9110, section 13.1). The weak form counts as equal: content under a digest never differs.
 */
export function matchesEtag(header: string, etag: string): boolean {
  return header.split(',').some((candidate) => {
    const tag = candidate.trim()
    return tag === '*' || tag === etag || tag === `W/${etag}`
  })
}
