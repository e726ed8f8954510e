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
