import { isWellFormedDigest } from './digest.ts'
import { RegistryError } from './errors.ts'

/** A reference from a manifest to other content (image-spec, "OCI Content Descriptors"). */
export interface Descriptor {
  readonly mediaType: string
  /** Well formed, but perhaps of an algorithm that this registry does not support. */
  readonly digest: string
  readonly size: number
  readonly urls: readonly string[]
  readonly platform: Platform | undefined
}

/** image-spec, "Image Index". */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant: string | undefined
}

type JsonObject = Readonly<Record<string, unknown>>

const DESCRIPTOR_FIELDS = knownFields([
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'artifactType',
  'platform',
])
const MAX_MEDIA_TYPE_LENGTH = 255
const PRINTABLE_ASCII = /^[ -~]*$/
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Reads one descriptor.
 * @param where its place in the document, such as `layers[2]`, for the message.
 * @throws RegistryError MANIFEST_INVALID
 */
export function parseDescriptor(value: unknown, where: string): Descriptor {
  if (!isJsonObject(value)) throw invalid(where, 'must be a descriptor: an object with mediaType, digest and size')
  refuseLookalikes(value, DESCRIPTOR_FIELDS, where)
  const { mediaType, digest, size } = value
  if (typeof mediaType !== 'string' || mediaType === '' || mediaType.length > MAX_MEDIA_TYPE_LENGTH) {
    throw invalid(`${where}.mediaType`, 'must be a media type')
  }
  if (typeof digest !== 'string' || !isWellFormedDigest(digest)) throw invalid(`${where}.digest`, 'must be a digest')
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${where}.size`, 'must be a whole number of bytes')
  }
  checkData(value['data'], size, where)
  optionalString(value, 'artifactType', where)
  parseAnnotations(value['annotations'], where)
  return { mediaType, digest, size, urls: parseUrls(value['urls'], where), platform: parsePlatform(value, where) }
}

/** The fields of an object, as `refuseLookalikes` looks for them. */
export interface KnownFields {
  /** From its lower-case form to its spelling. */
  readonly spellings: ReadonlyMap<string, string>
  /** A longer key folds to none of them: no character folds to fewer ones, and none is longer than two units. */
  readonly maxLength: number
}

/** Prepares the names of an object's fields, which are in ASCII, for `refuseLookalikes`. */
export function knownFields(fields: readonly string[]): KnownFields {
  return {
    spellings: new Map(fields.map((field) => [field.toLowerCase(), field])),
    maxLength: 2 * Math.max(...fields.map((field) => field.length)),
  }
}

/**
 * Refuses a key that only differs from a known one by case, since some readers (Go's among them) take it for that one.
 * @throws RegistryError MANIFEST_INVALID
 */
export function refuseLookalikes(object: JsonObject, fields: KnownFields, where: string): void {
  for (const key of Object.keys(object)) {
    if (key.length > fields.maxLength) continue
    const folded = (PRINTABLE_ASCII.test(key) ? key : key.normalize('NFKC')).toLowerCase()
    const twin = fields.spellings.get(folded)
    if (twin !== undefined && twin !== key) {
      throw invalid(where, `has the key ${JSON.stringify(key)}; it must be spelled "${twin}"`)
    }
  }
}

/**
 * Reads annotations: a map of strings; absent means empty.
 * @throws RegistryError MANIFEST_INVALID
 */
export function parseAnnotations(value: unknown, where: string): Readonly<Record<string, string>> | undefined {
  if (value === undefined || value === null) return undefined
  if (!isStringMap(value)) throw invalid(`${where}.annotations`, 'must be an object whose values are strings')
  return value
}

/**
 * Reads a field that may be missing or null.
 * @throws RegistryError MANIFEST_INVALID
 */
export function optionalString(object: JsonObject, field: string, where: string): string | undefined {
  const value = object[field]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw invalid(`${where}.${field}`, 'must be a string')
  return value
}

export function invalid(where: string, problem: string): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `the manifest is invalid: ${where} ${problem}`, {
    detail: { field: where },
  })
}

function isStringMap(value: unknown): value is Readonly<Record<string, string>> {
  return isJsonObject(value) && Object.values(value).every((entry) => typeof entry === 'string')
}

function checkData(data: unknown, size: number, where: string): void {
  if (data === undefined || data === null) return
  if (typeof data !== 'string' || !BASE64.test(data) || data.length % 4 !== 0) {
    throw invalid(`${where}.data`, 'must be base64')
  }
  const padding = data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0
  if ((data.length / 4) * 3 - padding !== size) throw invalid(`${where}.data`, 'is not of the length that size says')
}

function parseUrls(value: unknown, where: string): readonly string[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || !value.every((url) => typeof url === 'string')) {
    throw invalid(`${where}.urls`, 'must be a list of strings')
  }
  return value
}

function parsePlatform(descriptor: JsonObject, where: string): Platform | undefined {
  const platform = descriptor['platform']
  if (platform === undefined || platform === null) return undefined
  if (!isJsonObject(platform)) throw invalid(`${where}.platform`, 'must be an object')
  return {
    os: optionalString(platform, 'os', `${where}.platform`) ?? '',
    architecture: optionalString(platform, 'architecture', `${where}.platform`) ?? '',
    variant: optionalString(platform, 'variant', `${where}.platform`),
  }
}
