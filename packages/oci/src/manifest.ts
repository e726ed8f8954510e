import {
  type Descriptor,
  invalid,
  isJsonObject,
  knownFields,
  optionalString,
  parseAnnotations,
  parseDescriptor,
  refuseLookalikes,
} from './descriptor.ts'
import { RegistryError } from './errors.ts'
import {
  bareMediaType,
  isImageType,
  isIndexType,
  isSchema1Type,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
} from './media-types.ts'
import { JsonError, parseStrictJson } from './strict-json.ts'

/** More children than this are refused: each costs a look-up, and no real manifest comes near. */
const MAX_CHILDREN = 10_000

const TOP_FIELDS = knownFields([
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
])
const SCHEMA1_FIELDS = ['fsLayers', 'history', 'signatures']

interface CommonFields {
  readonly mediaType: string
  /** What the referrers list calls its type: artifactType or, in an image, the config's media type. */
  readonly artifactType: string | undefined
  /** The digest of the manifest that this one is attached to; well formed, perhaps of an unsupported algorithm. */
  readonly subject: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

/** An image manifest, OCI's or Docker's schema 2: a config and layers. */
export interface ImageManifest extends CommonFields {
  readonly kind: 'image'
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

/** An image index or Docker manifest list: other manifests. */
export interface ImageIndex extends CommonFields {
  readonly kind: 'index'
  readonly manifests: readonly Descriptor[]
}

export type Manifest = ImageManifest | ImageIndex

/**
 * Reads a manifest as it was pushed and checks all that can be known without its children
 * (image-spec, "Image Manifest" and "Image Index"; Docker's schema 2).
 * @param contentType the request's `Content-Type`; its parameters are ignored. Without one the document's own
 * `mediaType` counts, or its shape.
 * @throws RegistryError MANIFEST_INVALID
 */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined): Manifest {
  const declared = contentType === undefined ? undefined : bareMediaType(contentType)
  if (declared !== undefined && isSchema1Type(declared)) throw schema1Refused()
  const document = readDocument(bytes)
  if (document['schemaVersion'] === 1 || SCHEMA1_FIELDS.some((field) => Object.hasOwn(document, field))) {
    throw schema1Refused()
  }
  if (document['schemaVersion'] !== 2) throw invalid('schemaVersion', 'must be 2')
  refuseLookalikes(document, TOP_FIELDS, 'the document')
  const mediaType = decideMediaType(document, declared)
  const annotations = parseAnnotations(document['annotations'], 'the document')
  const subject = isAbsent(document['subject']) ? undefined : parseDescriptor(document['subject'], 'subject').digest
  const artifactType = optionalString(document, 'artifactType', 'the document') || undefined
  if (isIndexType(mediaType)) {
    refuseFields(document, ['config', 'layers'], 'an index')
    const manifests = parseDescriptors(document['manifests'], 'manifests')
    return { kind: 'index', mediaType, artifactType, subject, annotations, manifests }
  }
  refuseFields(document, ['manifests'], 'an image manifest')
  const config = parseDescriptor(document['config'], 'config')
  const layers = parseDescriptors(document['layers'], 'layers')
  return {
    kind: 'image',
    mediaType,
    artifactType: artifactType ?? config.mediaType,
    subject,
    annotations,
    config,
    layers,
  }
}

function readDocument(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let document: unknown
  try {
    document = parseStrictJson(bytes)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    throw new RegistryError('MANIFEST_INVALID', `the manifest is invalid: ${error.message}`, { cause: error })
  }
  if (isJsonObject(document)) return document
  throw new RegistryError('MANIFEST_INVALID', 'the manifest is invalid: it is not a JSON object')
}

/** One digest must mean one thing: header and document may not disagree (CVE-2021-41190). */
function decideMediaType(document: Readonly<Record<string, unknown>>, declared: string | undefined): string {
  const own = optionalString(document, 'mediaType', 'the document') || undefined
  if (declared !== undefined && own !== undefined && own !== declared) {
    throw invalid('mediaType', `is "${own}", but the Content-Type header says "${declared}"; they must be the same`)
  }
  // Without its own word, bytes could be pushed once as Docker's and once as OCI's, and one digest would be two things.
  if (declared?.startsWith('application/vnd.docker.') && own === undefined) {
    throw invalid('mediaType', `must be in the document and be "${declared}"`)
  }
  const mediaType = declared ?? own ?? (Object.hasOwn(document, 'manifests') ? OCI_IMAGE_INDEX : OCI_IMAGE_MANIFEST)
  if (!isImageType(mediaType) && !isIndexType(mediaType)) {
    throw new RegistryError(
      'MANIFEST_INVALID',
      `"${mediaType.slice(0, 255)}" is not a type of manifest that this registry stores; Content-Type must be one of ` +
        [OCI_IMAGE_MANIFEST, OCI_IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST].join(', '),
    )
  }
  return mediaType
}

function parseDescriptors(value: unknown, where: string): readonly Descriptor[] {
  // Go programs write an empty list as null.
  if (value === null) return []
  if (!Array.isArray(value)) throw invalid(where, 'must be a list of descriptors')
  if (value.length > MAX_CHILDREN) throw invalid(where, `has more than ${MAX_CHILDREN} entries`)
  return value.map((entry, index) => parseDescriptor(entry, `${where}[${index}]`))
}

function refuseFields(document: Readonly<Record<string, unknown>>, fields: readonly string[], kind: string): void {
  for (const field of fields) {
    if (Object.hasOwn(document, field)) throw invalid(field, `does not belong in ${kind}`)
  }
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null
}

function schema1Refused(): RegistryError {
  return new RegistryError(
    'MANIFEST_INVALID',
    'Docker image manifest version 2, schema 1 is not accepted, because its layers cannot be verified; push the image ' +
      'again with Docker 1.10 or newer, or convert it: skopeo copy --format v2s2 SOURCE DESTINATION',
  )
}
