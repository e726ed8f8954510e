import { type Digest, parseDigest } from './digest.ts'
import { RegistryError } from './errors.ts'

/** Longer names cannot be pulled: clients refuse a host and name of more than 255 characters together. */
const MAX_NAME_LENGTH = 255

const PATH_COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const NAME = new RegExp(`^${PATH_COMPONENT}(?:/${PATH_COMPONENT})*$`)
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

/** What follows `/manifests/` in a URL: a tag or a digest. */
export type Reference = { readonly tag: string } | { readonly digest: Digest }

/**
 * Reads a repository's name (distribution-spec, "Pulling manifests").
 * @throws RegistryError NAME_INVALID
 */
export function parseRepositoryName(text: string): string {
  if (text.length <= MAX_NAME_LENGTH && NAME.test(text)) return text
  throw new RegistryError(
    'NAME_INVALID',
    `a repository name is up to ${MAX_NAME_LENGTH} characters: lower-case letters and digits, ` +
      'separated by ".", "_", "__" or dashes, in parts separated by "/"',
    { detail: { name: text.slice(0, 256) } },
  )
}

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/**
 * Reads a tag (distribution-spec, "Pulling manifests").
 * @throws RegistryError TAG_INVALID
 */
export function parseTag(text: string): string {
  if (isTag(text)) return text
  throw new RegistryError(
    'TAG_INVALID',
    'a tag is 1 to 128 characters: letters, digits, ".", "_" and "-", and does not begin with "." or "-"',
    { detail: { tag: text.slice(0, 256) } },
  )
}

/**
 * Reads a tag or a digest; what has a colon is meant as a digest, for no tag has one.
 * @throws RegistryError TAG_INVALID, DIGEST_INVALID
 */
export function parseReference(text: string): Reference {
  return text.includes(':') ? { digest: parseDigest(text) } : { tag: parseTag(text) }
}
