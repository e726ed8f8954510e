import { dockerImageDocument, imageDocument, indexDocument, mediaTypes } from '../content.ts'
import type { Fixture } from './fixture.ts'
import { type Expected, answered, refused } from './oracle.ts'
import type { Random } from '../random.ts'
import { validDigest } from './values.ts'

/** A body for a manifest push, with what must be answered because of how it was made. */
export interface ManifestBody {
  readonly bytes: Buffer
  readonly mediaType: string
  readonly expected: Expected
}

type Fields = Record<string, unknown>

const INVALID = refused(400, 'MANIFEST_INVALID')
const UNKNOWN_CHILD = refused(400, 'MANIFEST_BLOB_UNKNOWN')
/** What bytes changed at random may be answered with. */
const ANYTHING: Expected = { statuses: [201, 400], codes: ['MANIFEST_INVALID', 'MANIFEST_BLOB_UNKNOWN'] }

/** A manifest that must be accepted where the fixture's blobs and image are. */
export function validManifest(random: Random, fixture: Fixture): ManifestBody {
  const annotations = { nonce: random.bytes(8).toString('hex'), text: oddText(random) }
  const [config, ...layers] = fixture.blobs.map(({ digest, bytes }) => ({
    mediaType: mediaTypes.octetStream,
    digest,
    size: bytes.length,
  }))
  if (config === undefined) throw new Error('the fixture has blobs')
  const image = { mediaType: mediaTypes.image, digest: fixture.image.digest, size: fixture.image.bytes.length }
  const subject = random.chance(20) && { subject: { ...image, digest: validDigest(random) } }
  const artifactType = random.chance(20) && { artifactType: `application/${random.bytes(4).toString('hex')}` }
  const fields: Fields = { annotations, ...subject, ...artifactType, ...unknownFields(random) }
  const [bytes, mediaType] = random.weighted<() => [Buffer, string]>([
    [4, () => [imageDocument(config, layers, fields), mediaTypes.image]],
    [2, () => [indexDocument([image], fields), mediaTypes.index]],
    [1, () => [indexDocument([], fields), mediaTypes.index]],
    [
      1,
      () => [
        dockerImageDocument({ ...config, annotations: { nonce: annotations.nonce } }, layers),
        mediaTypes.dockerImage,
      ],
    ],
  ])()
  return { bytes, mediaType, expected: answered(201) }
}

function unknownFields(random: Random): Fields {
  if (random.chance(70)) return {}
  let value: unknown = random.pick([0, -0, 1e308, null, true, '', [], {}, oddText(random)])
  for (let depth = random.between(0, 50); depth > 0; depth--) value = random.chance(50) ? [value] : { x: value }
  return { [`x-${random.below(100)}`]: value }
}

function oddText(random: Random): string {
  return random.pick([
    '',
    '\0',
    '\ud800',
    '\udfff\ud800',
    '\u202e\ufeff',
    'é'.normalize('NFD'),
    '</script>"\\',
    '\r\nX: y',
    "'; DROP TABLE tags; --",
    '\u{1f4a9}'.repeat(random.between(1, 200)),
  ])
}

/** A manifest with one known fault. */
export function brokenManifest(random: Random, fixture: Fixture): ManifestBody {
  const valid = validManifest(random, fixture)
  const document = parseFields(valid.bytes)
  const text = valid.bytes.toString()
  const withText = (changed: string | Buffer, expected = INVALID) => ({
    ...valid,
    bytes: Buffer.from(changed),
    expected,
  })
  return random.weighted<() => ManifestBody>([
    [8, () => withText(JSON.stringify(breakField(random, document)))],
    [4, () => withText(JSON.stringify(breakDescriptor(random, document)))],
    [2, () => withText(JSON.stringify(losingChild(random, document)), UNKNOWN_CHILD)],
    [4, () => withText(breakText(random, text))],
    [
      2,
      () => ({
        ...valid,
        mediaType: otherType(random),
        expected: { statuses: [400, 415], codes: ['MANIFEST_INVALID', 'UNSUPPORTED'] },
      }),
    ],
    [4, () => withText(mutate(random, valid.bytes), ANYTHING)],
    [1, () => withText(nest(random, text))],
  ])()
}

/** One of the fields at the top is missing, of another type, or belongs to another kind of manifest. */
function breakField(random: Random, document: Fields): Fields {
  const list = 'manifests' in document ? 'manifests' : 'layers'
  return random.pick([
    () => without(document, 'schemaVersion'),
    () => ({ ...document, schemaVersion: random.pick([1, 3, '2', 2.5, null, [2], true, -2, 1e300]) }),
    () => ({ ...document, mediaType: random.pick([1, {}, [], 'text/html', mediaTypes.dockerList, true]) }),
    () => ({ ...document, annotations: random.pick([1, [], 'x', { a: 1 }, { a: null }, { a: {} }, true]) }),
    () => ({ ...document, subject: random.pick([1, [], 'x', {}, { digest: 'x' }, true]) }),
    () => ({ ...document, artifactType: random.pick([1, [], {}, true]) }),
    () => ({ ...document, [list]: random.pick([1, {}, 'x', [1], [null], [[]], [{}], true]) }),
    () => without(document, list),
    () => (list === 'layers' ? without(document, 'config') : { ...document, config: {} }),
    () => (list === 'layers' ? { ...document, manifests: [] } : { ...document, layers: [] }),
    () => ({
      ...document,
      [random.pick(['Config', 'LAYERS', 'mediatype', 'schemaversion', 'Subject', 'ann\u{1d52c}tations'])]: 1,
    }),
    () => ({ ...document, [random.pick(['fsLayers', 'history', 'signatures'])]: [] }),
  ])()
}

/** One field of the first descriptor is missing or of another type. */
function breakDescriptor(random: Random, document: Fields): Fields {
  const descriptor = {
    mediaType: mediaTypes.octetStream,
    digest: validDigest(random),
    size: random.below(1_000),
  }
  const broken = random.pick<Fields>([
    without(descriptor, random.pick(['mediaType', 'digest', 'size'])),
    { ...descriptor, size: random.pick([-1, 1.5, '1', null, 1e300, 2 ** 53, [], {}]) },
    {
      ...descriptor,
      digest: random.pick<unknown>([
        1,
        '',
        'x',
        'sha256:',
        'sha256:../../x',
        'sha256:A',
        null,
        [],
        `${descriptor.digest}0`,
      ]),
    },
    { ...descriptor, mediaType: random.pick([1, '', null, [], 'x'.repeat(300)]) },
    { ...descriptor, urls: random.pick([1, 'x', [1], {}]) },
    { ...descriptor, data: random.pick([1, '*', 'a', '====', [], 'YWJj'.repeat(400)]) },
    { ...descriptor, annotations: random.pick([1, { a: 1 }, []]) },
    { ...descriptor, platform: random.pick([1, [], { os: 1 }, 'linux']) },
    { ...descriptor, Digest: descriptor.digest },
  ])
  if ('manifests' in document) return { ...document, manifests: [broken] }
  return random.chance(50) ? { ...document, config: broken } : { ...document, layers: [broken] }
}

function losingChild(random: Random, document: Fields): Fields {
  const lost = { mediaType: mediaTypes.image, digest: validDigest(random), size: random.below(1_000) }
  if ('manifests' in document) return { ...document, manifests: [lost] }
  return random.chance(50) ? { ...document, config: lost } : { ...document, layers: [lost, lost] }
}

/** Text that is no JSON, or JSON of which two readers could see two documents. */
function breakText(random: Random, text: string): string | Buffer {
  return random.pick<() => string | Buffer>([
    () => text.slice(0, random.between(0, text.length - 1)),
    () => `${text}${random.pick(['x', '}', ',', '\0', 'null', text])}`,
    () => `\ufeff${text}`,
    () => text.replace('{', '{"schemaVersion":2,'),
    () => text.replace('{', '{"schemaVersio\\u006e":1,'),
    () => text.replace('{', '{"x":{"a":1,"\\u0061":2},'),
    () => text.replace('}', ',}'),
    () => text.replaceAll('"', "'"),
    () => `/* comment */${text}`,
    () =>
      text.replace(
        '{',
        `{"x":${random.pick(['NaN', 'Infinity', 'undefined', '01', '+1', '.5', '0x1', "'x'", '"\t"', '"\\x"'])},`,
      ),
    () =>
      Buffer.concat([
        Buffer.from(text.slice(0, -1)),
        Buffer.from([random.pick([0x80, 0xff, 0xc0, 0xed])]),
        Buffer.from('}'),
      ]),
    () => text.replace('"schemaVersion":2', '"schemaVersion":2,"y":"\ufffe","x":"'),
    () => Buffer.from(text, 'utf16le'),
    () => random.pick(['', ' ', 'null', '[]', '"x"', '0', 'true', '\0', '<xml/>', '{}', '[{}]', 'schemaVersion: 2']),
    () => random.bytes(random.between(1, 500)),
  ])()
}

/** Deeper than any reader should have to go. */
function nest(random: Random, text: string): string {
  const depth = random.pick([65, 100, 1_000, 20_000])
  const [open, close] = random.pick([
    ['[', ']'],
    ['{"a":', '}'],
  ])
  return text.replace('{', `{"x":${open.repeat(depth)}1${close.repeat(depth)},`)
}

/** A few bytes changed, taken out, doubled or put elsewhere. */
function mutate(random: Random, bytes: Buffer): Buffer {
  let changed = bytes
  for (let more = random.between(1, 4); more > 0; more--) {
    const at = random.below(changed.length)
    const end = Math.min(changed.length, at + random.between(1, 20))
    const part = random.pick([
      () => random.bytes(1),
      () => Buffer.alloc(0),
      () => Buffer.concat([changed.subarray(at, end), changed.subarray(at, end)]),
      () =>
        Buffer.from(
          random.pick(['"', '\\', '{', '}', '[', ']', ',', ':', '\\u0000', '\\ud800', '0', '-', 'null', '\u00ff']),
        ),
      () => Buffer.from(String(random.pick([2 ** 53, -1, 1e21, 0.1, 123_456_789_012_345_680_000]))),
    ])()
    changed = Buffer.concat([changed.subarray(0, at), part, changed.subarray(end)])
    if (changed.length === 0) return Buffer.from('{')
  }
  return changed
}

function otherType(random: Random): string {
  return random.pick([
    mediaTypes.dockerList,
    'application/json',
    'text/html',
    'application/vnd.docker.distribution.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    'application/json\ta',
    ';',
    'a',
    '\u00ff/\u00ff',
    `application/${'x'.repeat(4_000)}`,
    'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json',
  ])
}

function without(fields: Fields, field: string): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => name !== field))
}

function parseFields(bytes: Buffer): Fields {
  const value: unknown = JSON.parse(bytes.toString())
  if (typeof value !== 'object' || value === null) throw new Error('a manifest is an object')
  return { ...value }
}
