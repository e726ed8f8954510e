import { bareMediaType } from './media-types.ts'

const MAX_RANGES = 256

/** Which media types a client takes, as its `Accept` headers say (RFC 9110, section 12.5.1). */
export interface Acceptance {
  accepts(mediaType: string): boolean
}

const ANYTHING: Acceptance = { accepts: () => true }

/**
 * Reads `Accept`, of which there may be several joined by commas.
 * A client that sends none, or a wildcard, takes everything; weights other than `q=0` make no difference, for a
 * registry has one form of each manifest.
 */
export function parseAccept(header: string | undefined): Acceptance {
  if (header === undefined || header.trim() === '') return ANYTHING
  const accepted = new Set<string>()
  for (const range of header.split(',', MAX_RANGES)) {
    if (/;\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)/i.test(range)) continue
    const mediaType = bareMediaType(range)
    if (mediaType === '*/*' || mediaType === 'application/*') return ANYTHING
    accepted.add(mediaType)
  }
  return { accepts: (mediaType) => accepted.has(mediaType) }
}
