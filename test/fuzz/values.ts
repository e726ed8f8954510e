import { type Random, ALPHANUMERIC, LOWER_ALPHANUMERIC, LOWER_HEX } from '../random.ts'
import { type Expected, refused } from './oracle.ts'

/** Text for a URL, escaped as it is sent, and how it must be refused when it was broken on purpose. */
export interface Value {
  readonly text: string
  readonly fault?: Expected
}

/** Characters that no name, digest or tag has, as a URL carries them; each may stand in a path segment. */
const FOREIGN = [
  '!',
  '$',
  '&',
  "'",
  '(',
  ')',
  '*',
  '+',
  ',',
  ';',
  '=',
  '@',
  '~',
  '%20',
  '%00',
  '%2F',
  '%2f',
  '%5C',
  '%0d%0a',
  '%2e%2e%2f',
  '%25',
  '%2525',
  '%22',
  '%3C',
  '%3F',
  '%23',
  '%7f',
  '%c3%a9',
  '%ff',
  '%c3%28',
  '%c0%af',
  '%ed%a0%80',
  '%e2%80%ae',
  '%f0%9f%92%a9',
  '%d9%a3',
  '%ef%bc%8f',
  '%zz',
  '%u0041',
  '{',
  '}',
  '|',
  '^',
  '`',
  '"',
  '<',
] as const

const NAME_SEPARATORS = ['.', '_', '__', '-', '--', '-----'] as const
const BAD_SEPARATORS = ['..', '___', '.-', '-.', '_.', '_-', '._', '__.', '-_'] as const

/** A valid repository name: components of letters and digits with separators within (spec "Pulling manifests"). */
export function validName(random: Random, maxParts = 4): string {
  return Array.from({ length: random.between(1, maxParts) }, () => nameComponent(random)).join('/')
}

function nameComponent(random: Random): string {
  // The words of the API are names too.
  if (random.chance(8)) return random.pick(['manifests', 'blobs', 'uploads', 'tags', 'list', 'referrers', 'v2', 'ext'])
  let component = random.text(LOWER_ALPHANUMERIC, 1, 8)
  for (let more = random.below(3); more > 0; more--)
    component += random.pick(NAME_SEPARATORS) + random.text(LOWER_ALPHANUMERIC, 1, 6)
  return component
}

export function brokenName(random: Random): Value {
  const [left, right] = [validName(random, 2), nameComponent(random)]
  const foreign = random.pick(FOREIGN)
  const text = random.pick([
    () => `${left}/${right}${foreign}`,
    () => random.insert(left, foreign),
    () => `${left}${random.pick(BAD_SEPARATORS)}${right}`,
    () => `${random.pick(['.', '..', '_', '-', '__', '.a', '-a', '_catalog', '_oci', '...'])}/${right}`,
    () => `${left}/${right}${random.pick(['.', '_', '-', '__', '..'])}`,
    () => `${left}//${right}`,
    () => `${left}/${random.pick(['..', '.', '%2e%2e', '%2e'])}/${right}`,
    () => random.insert(left, random.pick(['A', 'Z', 'M'])),
    () => random.text(LOWER_ALPHANUMERIC, 256, random.pick([256, 300, 4000])),
    () => `${left}/${'a/'.repeat(random.between(128, 400))}a`,
    () => random.insert(left, random.pick(['%61', '%', '%2'])),
    () => ``,
  ])()
  return { text, fault: refused(400, 'NAME_INVALID') }
}

export function someName(random: Random): Value {
  return random.chance(50) ? { text: validName(random) } : brokenName(random)
}

/** A digest of nothing. */
export function validDigest(random: Random): string {
  const [algorithm, length] = random.pick([
    ['sha256', 64],
    ['sha512', 128],
  ])
  return `${algorithm}:${random.text(LOWER_HEX, length, length)}`
}

/** A broken digest; it keeps its colon, for without one it would be a tag. */
export function brokenDigest(random: Random): Value {
  const hex = random.text(LOWER_HEX, 64, 64)
  const text = random.pick([
    () => `sha256:${hex.slice(0, random.between(0, 63))}`,
    () => `sha256:${hex}${random.text(LOWER_HEX, 1, random.pick([1, 64, 2000]))}`,
    () => `sha512:${hex}`,
    () => `sha512:${hex}${hex.slice(1)}`,
    () => `sha256:A${hex.slice(1).toUpperCase()}`,
    () => `sha256:${random.text(ALPHANUMERIC, 63, 63)}g`,
    () =>
      `${random.pick(['SHA256', 'Sha512', 'md5', 'sha1', 'sha384', 'blake3', 'sha256+x', '', 'constructor'])}:${hex}`,
    () => `sha256:${random.insert(hex.slice(1), random.pick(FOREIGN))}`,
    () => `sha256::${hex}`,
    () => `:sha256:${hex}`,
    () => `sha256:${'%2e%2e%2f'.repeat(random.between(1, 20))}etc%2fpasswd`,
    () => `sha256:${hex}%00`,
    () => `%20sha256:${hex}`,
    () => `sha256:${hex}%0a`,
    () => random.text(`${ALPHANUMERIC}:`, 200, 1000) + ':',
  ])()
  return { text, fault: refused(400, 'DIGEST_INVALID') }
}

export function someDigest(random: Random): Value {
  if (random.chance(50)) return brokenDigest(random)
  const text = validDigest(random)
  return { text: random.chance(20) ? text.replace(':', random.pick(['%3A', '%3a'])) : text }
}

/** A valid tag (spec "Pulling manifests"). */
export function validTag(random: Random): string {
  return random.text(`${ALPHANUMERIC}_`, 1, 1) + random.text(`${ALPHANUMERIC}._-`, 0, random.pick([3, 20, 127]))
}

/** A broken tag; it gets no colon, for with one it would be a digest. */
export function brokenTag(random: Random): Value {
  const tag = validTag(random).slice(0, 100)
  const text = random.pick([
    () => random.pick(['.', '-', '..', '...', '%2e%2e', '.a', '-a']) + random.pick(['', tag]),
    () => random.insert(tag, random.pick(FOREIGN)),
    () => `${tag}${random.pick(FOREIGN)}`,
    () => 'a'.repeat(random.pick([129, 130, 255, 256, 3000])),
  ])()
  return { text, fault: refused(400, 'TAG_INVALID') }
}

export function someReference(random: Random): Value {
  return random.weighted([
    [3, () => ({ text: validTag(random) })],
    [4, () => brokenTag(random)],
    [4, () => someDigest(random)],
  ])()
}

/** A value of `n` that is no whole number. */
export function brokenNumber(random: Random): string {
  return random.pick([
    '',
    '-1',
    '1.5',
    '1e3',
    '0x10',
    '+1',
    '%201',
    '1%20',
    '1,2',
    'NaN',
    'Infinity',
    'null',
    '%00',
    '1%00',
    '%d9%a3',
    '%ef%bc%91',
    'abc',
    '1n',
    '_1',
    "1'--",
    '9'.repeat(400),
    '%ff',
  ])
}

/** The id of an upload that nobody began. */
export function inventedUpload(random: Random): string {
  return random.pick([
    () => '00000000-0000-4000-8000-' + random.text(LOWER_HEX, 12, 12),
    () => random.text(ALPHANUMERIC, 1, 40),
    () => random.pick(['..', '.', '%2e%2e', '%2e%2e%2fentrepot.db', '..%2f..%2f..%2fetc%2fpasswd', '%00', 'check-1']),
    () => random.insert('0f', random.pick(FOREIGN)),
    () => 'a'.repeat(random.pick([256, 2000])),
  ])()
}
