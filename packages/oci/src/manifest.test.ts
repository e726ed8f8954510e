import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type ErrorCode,
  isDigest,
  JsonError,
  parseAccept,
  parseManifest,
  parseReference,
  parseRepositoryName,
  parseStrictJson,
  referrersTag,
  RegistryError,
} from './index.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const IMAGE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const descriptor = { mediaType: 'application/octet-stream', digest: DIGEST, size: 3 }
const image = { schemaVersion: 2, mediaType: IMAGE, config: descriptor, layers: [descriptor] }
const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))

function refuses(code: ErrorCode, act: () => unknown, message?: RegExp): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof RegistryError)
    assert.equal(error.code, code)
    if (message !== undefined) assert.match(error.message, message)
    return true
  })
}

/** What an action throws; undefined when it does not. */
function reasonOf(act: () => unknown): string | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    assert.ok(error instanceof JsonError || error instanceof SyntaxError)
    return error.message
  }
}

/** How long the fastest of five runs takes, in milliseconds; the others share the machine. */
function fastest(act: () => unknown): number {
  const durations = Array.from({ length: 5 }, () => {
    const startedAt = performance.now()
    act()
    return performance.now() - startedAt
  })
  return Math.min(...durations)
}

test('an image manifest is read with its children, subject and type', () => {
  const manifest = parseManifest(
    bytes({ ...image, subject: descriptor, annotations: { a: 'b' } }),
    `${IMAGE}; charset=utf-8`,
  )
  assert.equal(manifest.kind, 'image')
  assert.equal(manifest.subject, DIGEST)
  assert.equal(manifest.artifactType, 'application/octet-stream')
  assert.deepEqual(manifest.annotations, { a: 'b' })
})

test('an index has no type of its own unless it says so', () => {
  const index = { schemaVersion: 2, manifests: [{ ...descriptor, platform: { os: 'linux', architecture: 'amd64' } }] }
  const manifest = parseManifest(bytes(index), INDEX)
  assert.equal(manifest.kind, 'index')
  assert.equal(manifest.artifactType, undefined)
})

test('a document that is image and index at once is refused, whichever type it claims', () => {
  const both = { schemaVersion: 2, config: descriptor, layers: [], manifests: [] }
  refuses('MANIFEST_INVALID', () => parseManifest(bytes(both), IMAGE))
  refuses('MANIFEST_INVALID', () => parseManifest(bytes(both), INDEX))
  refuses('MANIFEST_INVALID', () => parseManifest(bytes(both), undefined))
})

test('a header and a document that name different types are refused', () => {
  refuses('MANIFEST_INVALID', () => parseManifest(bytes(image), INDEX), /must be the same/)
})

test('schema 1 is refused with what to do', () => {
  refuses('MANIFEST_INVALID', () => parseManifest(bytes({ schemaVersion: 1, fsLayers: [] }), undefined), /skopeo copy/)
  refuses(
    'MANIFEST_INVALID',
    () => parseManifest(bytes(image), 'application/vnd.docker.distribution.manifest.v1+prettyjws'),
    /schema 1/,
  )
})

test('a key that another reader would take for a known one is refused', () => {
  for (const key of ['Layers', 'LAYERS', 'layer\u017f', 'mediatype']) {
    refuses('MANIFEST_INVALID', () => parseManifest(bytes({ ...image, [key]: [] }), IMAGE), /must be spelled/)
  }
})

for (const [what, change] of Object.entries({
  'a negative size': { size: -1 },
  'a size beyond whole numbers': { size: 1.5 },
  'a digest cut short': { digest: 'sha256:abc' },
  'a digest with a path': { digest: 'sha256:../../etc/passwd' },
  'an empty media type': { mediaType: '' },
  'urls that are no list': { urls: 'http://localhost' },
  'annotations that are no strings': { annotations: { a: 1 } },
  'data of another length than size': { data: 'AAAAAAAA' },
  'data that is not base64': { data: '****' },
})) {
  test(`a descriptor with ${what} is refused`, () => {
    refuses('MANIFEST_INVALID', () => parseManifest(bytes({ ...image, layers: [{ ...descriptor, ...change }] }), IMAGE))
  })
}

test('a key that stands twice in one object is refused, however it is escaped', () => {
  assert.throws(() => parseStrictJson(bytes('{"a":1,"a":2}')), JsonError)
  assert.throws(() => parseStrictJson(bytes('{"x":[{"a":1,"\\u0061":2}]}')), JsonError)
  assert.deepEqual(parseStrictJson(bytes('{"a":{"a":"\\"{"},"b":[{"a":1},{"a":2}]}')), {
    a: { a: '"{' },
    b: [{ a: 1 }, { a: 2 }],
  })
})

test('a document nested a hundred thousand levels deep is refused at once', () => {
  assert.throws(() => parseStrictJson(bytes('['.repeat(100_000) + ']'.repeat(100_000))), JsonError)
})

test('every document without a repeated key is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
      const text = JSON.stringify(value)
      assert.deepEqual(parseStrictJson(bytes(text)), JSON.parse(text))
    }),
  )
})

test('an object that repeats any of its keys is refused', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), fc.nat(), (object, pick) => {
      const keys = Object.keys(object)
      const repeated = JSON.stringify(keys[pick % keys.length])
      const text = `${JSON.stringify(object).slice(0, -1)},${repeated}:0}`
      assert.throws(() => parseStrictJson(bytes(text)), JsonError)
    }),
  )
})

function assertReasonOfJsonParse(text: string): void {
  const reason = reasonOf(() => JSON.parse(text))
  if (reason === undefined) return
  const ours = reasonOf(() => parseStrictJson(bytes(text))) ?? 'none'
  assert.ok(ours === `it is not valid JSON: ${reason}` || ours.endsWith('stands twice in one object'), ours)
}

test('a text that is not JSON is refused with the reason that JSON.parse gives', () => {
  const broken = [
    '',
    '"',
    '{"a',
    '{"a\\"',
    '{"\\q":1,"b":2}',
    ']',
    '}{',
    '[1,]',
    '{"a" "b"}',
    '{,"a":1}',
    '["a":1]',
    '{]',
  ]
  const fragments = fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '\\u0061', 'a', '0', ' ', '"k":')
  const texts = fc.array(fragments, { maxLength: 30 }).map((parts) => parts.join(''))
  broken.forEach(assertReasonOfJsonParse)
  fc.assert(fc.property(texts, assertReasonOfJsonParse))
})

const keys = (count: number, prefix = 'k') =>
  Array.from({ length: count }, (_, index) => `"${prefix}${index.toString(36)}":""`).join(',')
const DESCRIPTOR = JSON.stringify(descriptor)
const FIELDS = `"schemaVersion":2,"config":${DESCRIPTOR},"layers":[]`
/** Manifests that have so many keys beside the usual ones. */
const withKeys = (count: number): Readonly<Record<string, Buffer>> => ({
  'in the document': bytes(`{${keys(count)},${FIELDS}}`),
  'in a descriptor': bytes(`{"schemaVersion":2,"config":{${keys(count)},${DESCRIPTOR.slice(1)},"layers":[]}`),
  'in annotations': bytes(`{${FIELDS},"annotations":{${keys(count)}}}`),
  'that are escaped': bytes(`{${FIELDS},"annotations":{${keys(count, '\\u006b')}}}`),
  'that are not in ASCII': bytes(`{${keys(count, '\ufdfa')},${FIELDS}}`),
})

for (const [where, document] of Object.entries(withKeys(300_000))) {
  test(`a manifest with 300,000 keys ${where} is refused sooner than JSON.parse would have read it`, () => {
    const tooMany = /^the manifest is invalid: it has more than 20000 different keys$/
    const ours = fastest(() => refuses('MANIFEST_INVALID', () => parseManifest(document, IMAGE), tooMany))
    assert.ok(ours < fastest(() => JSON.parse(document.toString())), `${ours} ms`)
  })
}

test('a manifest of more than 200,000 keys, objects and lists is refused, of whatever kind they are', () => {
  const tooMany = /^the manifest is invalid: it has more than 200000 keys, objects and lists$/
  for (const part of ['{}', '[]', '{"a":0}', `{${keys(10)}}`]) {
    const document = bytes(`{${FIELDS},"x":[${part}${`,${part}`.repeat(200_000)}]}`)
    refuses('MANIFEST_INVALID', () => parseManifest(document, IMAGE), tooMany)
  }
})

const child = (index: number) => ({
  ...descriptor,
  digest: `sha256:${index.toString(16).padStart(64, '0')}`,
  platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
  annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': DIGEST },
})
const index = bytes({ schemaVersion: 2, manifests: Array.from({ length: 10_000 }, (_, index) => child(index)) })

test('an index of 10,000 children with platforms and annotations is read', () => {
  const manifest = parseManifest(index, INDEX)
  assert.equal(manifest.kind === 'index' && manifest.manifests.length, 10_000)
})

test('the costliest manifests that are accepted take no more than 40 times as long as JSON.parse alone', () => {
  const long = 4 * 1024 * 1024 - 1024
  const costly = {
    ...withKeys(19_000),
    'in objects of one key': bytes(`{${FIELDS},"x":[{"a":0}${',{"a":0}'.repeat(99_000)}]}`),
    'as objects that are empty': bytes(`{${FIELDS},"x":[{}${',{}'.repeat(199_000)}]}`),
    'that are long and fold to something longer': bytes(`{${FIELDS},"${'\ufdfa'.repeat(long / 3)}":0}`),
    'beside numbers': bytes(`{${FIELDS},"x":[0${',0'.repeat(long / 2)}]}`),
    'beside spaces': bytes(`{${FIELDS}${' '.repeat(long)}}`),
    'beside escapes': bytes(`{${FIELDS},"x":"${'\\"'.repeat(long / 2)}"}`),
  }
  for (const [what, document] of Object.entries(costly)) {
    const ours = fastest(() => parseManifest(document, IMAGE))
    const bare = fastest(() => JSON.parse(document.toString()))
    assert.ok(ours < 40 * bare, `keys ${what}: ${ours} ms instead of ${bare} ms`)
  }
  const ours = fastest(() => parseManifest(index, INDEX))
  assert.ok(ours < 40 * fastest(() => JSON.parse(index.toString())), `an index: ${ours} ms`)
})

test('bytes that are not UTF-8 are refused', () => {
  assert.throws(() => parseStrictJson(Uint8Array.of(0x22, 0xff, 0x22)), JsonError)
})

test('names follow the grammar of the specification', () => {
  for (const name of ['a', 'library/debian', 'a.b_c__d---e/0', 'a'.repeat(255)])
    assert.equal(parseRepositoryName(name), name)
  for (const name of [
    '',
    'A',
    'a//b',
    '/a',
    'a/',
    'a..b',
    'a___b',
    '-a',
    'a-',
    '_catalog',
    'a b',
    'ä',
    'a'.repeat(256),
    'a\n',
  ]) {
    refuses('NAME_INVALID', () => parseRepositoryName(name))
  }
})

test('a reference with a colon is a digest, any other is a tag', () => {
  assert.deepEqual(parseReference(DIGEST), { digest: DIGEST })
  assert.deepEqual(parseReference('v1.0_x-y'), { tag: 'v1.0_x-y' })
  refuses('DIGEST_INVALID', () => parseReference('sha256:baddigeststring'))
  refuses('TAG_INVALID', () => parseReference('.hidden'))
  refuses('TAG_INVALID', () => parseReference('a'.repeat(129)))
})

test('only digests of supported algorithms in lower case are digests', () => {
  assert.ok(isDigest(`sha512:${'0'.repeat(128)}`))
  for (const text of [
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `md5:${'a'.repeat(32)}`,
    'sha256',
    '',
    `constructor:${'a'.repeat(64)}`,
  ]) {
    assert.ok(!isDigest(text), text)
  }
})

test('the referrers tag is truncated and cleaned as the specification shows', () => {
  assert.equal(referrersTag(DIGEST), `sha256-${'a'.repeat(64)}`)
  assert.equal(referrersTag(`sha512:${'b'.repeat(128)}`), `sha512-${'b'.repeat(64)}`)
  assert.equal(
    referrersTag(
      'test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:' +
        'alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation',
    ),
    'test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot',
  )
})

test('a client takes what its Accept says, and everything when it says nothing', () => {
  assert.ok(parseAccept(undefined).accepts(INDEX))
  assert.ok(parseAccept('*/*').accepts(INDEX))
  assert.ok(parseAccept(`${IMAGE}, ${INDEX};q=0.5`).accepts(INDEX))
  assert.ok(!parseAccept(IMAGE).accepts(INDEX))
  assert.ok(!parseAccept(`${IMAGE}, ${INDEX};q=0`).accepts(INDEX))
})
