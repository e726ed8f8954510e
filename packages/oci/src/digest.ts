import { RegistryError } from './errors.ts'

/** The algorithms whose digests this registry can verify, with the length of their hexadecimal form. */
const HEX_LENGTHS = { sha256: 64, sha512: 128 } as const

export type DigestAlgorithm = keyof typeof HEX_LENGTHS

/** A verified form of digest: lower-case hexadecimal of a supported algorithm (image-spec, "Digests"). */
export type Digest = `${DigestAlgorithm}:${string}`

/** The grammar of any digest, including algorithms that this registry does not know (image-spec, "Digests"). */
const ANY_DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/
const LOWER_HEX = /^[0-9a-f]+$/

export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return Object.hasOwn(HEX_LENGTHS, text)
}

/** Whether the text is a digest of a supported algorithm. */
export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':')
  const algorithm = text.slice(0, colon)
  if (!isDigestAlgorithm(algorithm)) return false
  return text.length === colon + 1 + HEX_LENGTHS[algorithm] && LOWER_HEX.test(text.slice(colon + 1))
}

/** Whether the text has the form of a digest, of a supported algorithm or of one this registry cannot verify. */
export function isWellFormedDigest(text: string): boolean {
  const algorithm = text.slice(0, text.indexOf(':'))
  return isDigestAlgorithm(algorithm) ? isDigest(text) : text.length <= 512 && ANY_DIGEST.test(text)
}

/**
 * Reads a digest that came from outside.
 * @throws RegistryError DIGEST_INVALID when it is malformed or its algorithm is not supported.
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  throw new RegistryError(
    'DIGEST_INVALID',
    'the digest must be "sha256:" and 64, or "sha512:" and 128, lower-case hexadecimal digits',
    { detail: { digest: text.slice(0, 256) } },
  )
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512'
}

/** The hexadecimal part of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/**
 * The tag under which clients without the referrers API keep the referrers of a digest
 * (distribution-spec, "Referrers Tag Schema").
 */
export function referrersTag(digest: string): string {
  const colon = digest.indexOf(':')
  const algorithm = digest.slice(0, colon).slice(0, 32)
  const encoded = digest.slice(colon + 1).slice(0, 64)
  return `${algorithm}-${encoded}`.replace(/[^a-zA-Z0-9._-]/g, '-')
}
