import assert from 'node:assert/strict'
import { assertContent, strings, record } from '../registry-client.ts'
import type { FuzzCase } from './fixture.ts'
import { type Expected, answered, either, refused } from './oracle.ts'
import type { Random } from '../random.ts'
import {
  type Value,
  brokenDigest,
  brokenNumber,
  inventedUpload,
  someDigest,
  someName,
  someReference,
  validDigest,
  validName,
} from './values.ts'

const UNKNOWN_UPLOAD = refused(404, 'BLOB_UPLOAD_UNKNOWN')
const UNKNOWN_BLOB = refused(404, 'NAME_UNKNOWN', 'BLOB_UNKNOWN')
const UNKNOWN_MANIFEST = refused(404, 'NAME_UNKNOWN', 'MANIFEST_UNKNOWN')

/** Queries that nobody understands: they change nothing. */
const JUNK = [
  '',
  '&',
  '&&&',
  '=',
  '=&=',
  'x',
  'x=%zz',
  'x=%',
  '%00=%00',
  '%2e%2e%2f=1',
  'x=%ff%fe',
  'x=%c0%80',
  'x[]=1',
  'x[y]=1',
  'ns=docker.io',
  'ns=',
  '__proto__=1',
  '__proto__[n]=1',
  'constructor=1',
  'toString=1',
  'hasOwnProperty=1',
  'N=-1',
  'LAST=x',
  'x=1;n=-1',
  'x=1%26n=-1',
  'x=1#n=-1',
  `x=${'y'.repeat(2_000)}`,
  'x=1&'.repeat(500),
  '?',
  'x=??',
] as const

/** Names, digests, tags and upload ids, valid ones and broken ones, in every place that a URL has for them. */
export async function locatingCase({ random, client, fixture }: FuzzCase): Promise<void> {
  for (let more = random.between(3, 10); more > 0; more--) {
    const name = random.chance(30) ? { text: fixture.repository } : someName(random)
    const { path, methods, expected, value, body } = random.pick(ENDPOINTS)(random)
    const faults = [name.fault, value?.fault].filter((fault) => fault !== undefined)
    const junk = random.chance(20) ? `${path.includes('?') ? '&' : '?'}${random.pick(JUNK)}` : ''
    await client.send(
      {
        method: random.pick(methods),
        target: `/v2/${name.text}/${path}${value?.text ?? ''}${junk}`,
        ...(body && { body: Buffer.from(body) }),
      },
      faults.length > 0 ? either(...faults) : expected,
    )
  }
}

interface Endpoint {
  readonly path: string
  readonly methods: readonly string[]
  readonly value?: Value
  /** What is answered when nothing is broken. */
  readonly expected: Expected
  readonly body?: string
}

const ENDPOINTS: readonly ((random: Random) => Endpoint)[] = [
  () => ({
    path: 'tags/list',
    methods: ['GET', 'HEAD'],
    expected: either(answered(200), refused(404, 'NAME_UNKNOWN')),
  }),
  () => ({ path: '_oci/ext/discover', methods: ['GET', 'HEAD'], expected: answered(200) }),
  (random) => ({
    path: 'manifests/',
    methods: ['GET', 'HEAD', 'DELETE'],
    value: someReference(random),
    expected: UNKNOWN_MANIFEST,
  }),
  (random) => ({
    path: 'manifests/',
    methods: ['PUT'],
    value: someReference(random),
    expected: refused(400, 'MANIFEST_INVALID', 'DIGEST_INVALID'),
    body: random.pick(['', '{}', 'null', '[]', '{"schemaVersion":2}']),
  }),
  (random) => ({
    path: 'blobs/',
    methods: ['GET', 'HEAD', 'DELETE'],
    value: someDigest(random),
    expected: UNKNOWN_BLOB,
  }),
  (random) => ({
    path: 'referrers/',
    methods: ['GET', 'HEAD'],
    value: someDigest(random),
    expected: answered(200),
  }),
  (random) => ({
    path: `blobs/uploads/${inventedUpload(random)}?digest=${validDigest(random)}`,
    methods: ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'],
    expected: UNKNOWN_UPLOAD,
    body: 'bytes',
  }),
  (random) => ({
    path: `blobs/uploads/${inventedUpload(random)}?digest=`,
    methods: ['PUT'],
    value: brokenDigest(random),
    expected: UNKNOWN_UPLOAD,
  }),
  (random) => ({
    path: 'blobs/uploads/?mount=',
    methods: ['POST'],
    value: brokenDigest(random),
    expected: answered(202),
  }),
  (random) => ({
    path: 'blobs/uploads/?digest=',
    methods: ['POST'],
    value: random.chance(50) ? brokenDigest(random) : { text: validDigest(random) },
    expected: refused(400, 'DIGEST_INVALID'),
    body: 'other bytes',
  }),
]

/** `Range`, where the whole content, a part or nothing is the answer. */
export async function rangeCase({ random, client, fixture }: FuzzCase): Promise<void> {
  for (let more = random.between(3, 8); more > 0; more--) {
    const { digest, bytes } = random.pick(fixture.blobs)
    const { header, part, statuses } = someRange(random, bytes)
    const answer = await client.send(
      { method: 'GET', target: `/v2/${fixture.repository}/blobs/${digest}`, headers: { Range: header } },
      { statuses, codes: ['RANGE_INVALID'] },
    )
    if (answer.status === 416) continue
    const body = answer.status === 206 ? part : bytes
    assert.ok(body?.equals(answer.body), `Range: ${String(header)} gave ${answer.body.length} bytes of ${bytes.length}`)
  }
}

interface SomeRange {
  readonly header: string | string[]
  readonly statuses: readonly number[]
  /** What a 206 must carry; without it there must be none. */
  readonly part?: Buffer
}

function partial(header: string, part: Buffer): SomeRange {
  return part.length > 0 ? { header, statuses: [206], part } : { header, statuses: [416] }
}

function someRange(random: Random, bytes: Buffer): SomeRange {
  const size = bytes.length
  const [start, end] = [random.below(size + 2), random.below(size + 2)].toSorted((a, b) => a - b)
  if (start === undefined || end === undefined) throw new Error('two numbers were drawn')
  const isWithin = start < size
  return random.pick([
    () => partial(`bytes=${start}-${end}`, bytes.subarray(start, end + 1)),
    () => partial(`bytes=${start}-`, bytes.subarray(start)),
    () => partial(`bytes=${start}-${'9'.repeat(random.between(6, 30))}`, bytes.subarray(start)),
    () => partial(`bytes=-${end}`, end === 0 ? Buffer.alloc(0) : bytes.subarray(Math.max(0, size - end))),
    () => ({ header: `bytes=${size}-`, statuses: [416] }),
    () => ({ header: `bytes=${'9'.repeat(random.between(6, 400))}-`, statuses: [416] }),
    // An end before the start is invalid: RFC 9110 lets a server ignore it or say so.
    () => ({ header: `bytes=${end + 1}-${isWithin ? start : 0}`, statuses: [200, 416] }),
    () => ({ header: `bytes=${start}-${end},${start}-${end}`, statuses: [200, 416] }),
    () => ({ header: ['bytes=0-0', 'bytes=1-1'], statuses: [200, 416] }),
    () => ({ header: `bytes=${'0-,'.repeat(1_000)}0-`, statuses: [200, 416] }),
    () => ({ header: random.pick(['items=0-1', 'byte=0-0', '0-0', '', 'none', 'bytes']), statuses: [200] }),
    () => ({
      header: `bytes=${random.pick(['', '-', '--', 'a-b', '-0', '-1-', '1--1', '0x0-0x1', '1.0-2', '+0-1', '0-1;', '\u00b2-'])}`,
      statuses: [200, 416],
    }),
  ])()
}

/** `n` and `last` of lists that are known, so that each page is known too. */
export async function pageCase({ random, client, fixture }: FuzzCase): Promise<void> {
  for (let more = random.between(3, 8); more > 0; more--) {
    const { query, expected, tags } = somePage(random, fixture.tags)
    const answer = await client.send(
      { method: 'GET', target: `/v2/${fixture.repository}/tags/list?${query}` },
      expected,
    )
    if (tags !== undefined) assert.deepEqual(strings(record(answer.json())['tags']), tags, query)
    await client.send({ method: random.pick(['GET', 'HEAD']), target: `/v2/_catalog?${query}` }, expected)
  }
}

interface SomePage {
  readonly query: string
  readonly expected: Expected
  /** The tags of the page, where the query leaves no doubt. */
  readonly tags?: readonly string[]
}

function page(query: string, tags?: readonly string[]): SomePage {
  return { query, expected: answered(200), ...(tags && { tags }) }
}

function somePage(random: Random, all: readonly string[]): SomePage {
  const last = random.pick([
    '',
    '!',
    '0',
    'b',
    'zzz',
    '~',
    "'",
    'edge-2',
    'latest',
    '1.0.0',
    random.text('aLe1_.', 1, 3),
  ])
  const after = all.filter((tag) => tag > last)
  const n = random.between(0, 9)
  const invalid = refused(400, 'PAGINATION_NUMBER_INVALID')
  return random.pick([
    () => page(`n=${n}`, all.slice(0, n)),
    () => page(`n=${n}&last=${last}`, after.slice(0, n)),
    () => page(`%6e=${n}&l%61st=${last}`, after.slice(0, n)),
    () => page(`last=${last}&n=${n}&${random.pick(JUNK)}`, after.slice(0, n)),
    () => page(`n=${'9'.repeat(random.between(7, 15))}`, all),
    () => page(`last=${random.pick(['%00', '%ff', '..%2F', '%', '%ed%a0%80', 'x'.repeat(4_000)])}`),
    () => page(`last=${last}&last=%2F`),
    () => ({ query: `n=${n}&n=${brokenNumber(random)}`, expected: either(answered(200), invalid) }),
    () => ({ query: `n=${brokenNumber(random)}&last=${last}`, expected: invalid }),
    () => ({ query: `n=${brokenNumber(random)}`, expected: invalid }),
    () => ({ query: `n=-${random.between(0, 99)}`, expected: invalid }),
  ])()
}

/** `artifactType` and `last` of referrers that are known. */
export async function referrersCase({ random, client, fixture }: FuzzCase): Promise<void> {
  const { referrers } = fixture
  for (let more = random.between(2, 6); more > 0; more--) {
    const wanted = Array.from({ length: random.between(0, 3) }, () =>
      random.pick([
        'a/x',
        'a/y+json',
        'b/\u00e9 &=%',
        'c/z',
        'A/X',
        '%',
        '\0',
        'x'.repeat(1_000),
        "a/x' OR 1=1 --",
        '*',
      ]),
    )
    const last = random.pick(['', '', validDigest(random), ...referrers.map(({ digest }) => digest)])
    const query = new URLSearchParams(wanted.map((type) => ['artifactType', type]))
    if (last !== '') query.set('last', last)
    const target = `/v2/${fixture.repository}/referrers/${fixture.image.digest}`
    const answer = await client.send({ method: 'GET', target: `${target}?${query.toString()}` }, answered(200))
    const digests = referrers
      .filter(({ artifactType }) => wanted.length === 0 || wanted.includes(artifactType))
      .map(({ digest }) => digest)
      .filter((digest) => digest > last)
    const { manifests } = record(answer.json())
    assert.ok(Array.isArray(manifests))
    assert.deepEqual(
      manifests.map((descriptor: unknown) => record(descriptor)['digest']),
      digests,
      query.toString(),
    )
    const broken = brokenDigest(random)
    await client.send({ method: 'GET', target: `${target}?artifactType=%ff&last=${broken.text}` }, broken.fault)
  }
}

/** `Accept`, conditions and other headers around content that is there. */
export async function conditionCase({ random, client, fixture }: FuzzCase): Promise<void> {
  const { repository, image, blobs, tags } = fixture
  for (let more = random.between(3, 8); more > 0; more--) {
    const blob = blobs[0]
    const [path, content] = random.pick([
      [`manifests/${image.digest}`, image],
      [`manifests/${random.pick(tags)}`, image],
      [`blobs/${blob.digest}`, blob],
    ] as const)
    const etag = `"${content.digest}"`
    const [condition, isMatch] = random.pick<readonly [string | undefined, boolean]>([
      [etag, true],
      [`W/${etag}`, true],
      ['*', true],
      [`"a", ${etag}`, true],
      [`${'"a",'.repeat(400)}"b"`, false],
      [content.digest, false],
      [random.pick(['', ',', '"', '""', 'W/', '"\u00ff"', '"*"']), false],
      [undefined, false],
    ])
    const answer = await client.send(
      {
        method: 'GET',
        target: `/v2/${repository}/${path}${random.chance(20) ? `?${random.pick(JUNK)}` : ''}`,
        headers: { ...(condition !== undefined && { 'If-None-Match': condition }), ...oddHeaders(random) },
      },
      isMatch ? answered(304) : answered(200),
    )
    if (answer.status === 200) assertContent(answer, content)
  }
}

function oddHeaders(random: Random): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {
    Accept: random.pick<string | string[]>([
      '*/*',
      '',
      ';;;,,,',
      '*/*;q=0',
      'text/html;q=0.0000',
      `a/b;${' '.repeat(3_000)}q`,
      'a/b,'.repeat(700),
      ['application/json', 'application/vnd.oci.image.index.v1+json'],
      `x/${'y'.repeat(3_000)}`,
      '\u00e9/\u00ff',
    ]),
    'If-Modified-Since': random.pick(['Thu, 01 Jan 1970 00:00:00 GMT', 'x', '', '\u0080']),
    'Content-Type': random.pick([
      'application/json',
      'a',
      '',
      'a/b; charset=\u00ff',
      'application/json\ta',
      ';',
      'a/b;;;',
    ]),
    Authorization: random.pick(['Basic', 'Basic ====', `Bearer ${'.'.repeat(3_000)}`, 'Negotiate x', '']),
    'X-Forwarded-For': random.pick(['::1', 'a, b', "'; --", '127.0.0.1'.repeat(200)]),
    'X-Forwarded-Host': random.pick(['evil.example', 'a/b?c', '']),
    'X-Http-Method-Override': random.pick(['DELETE', 'PUT']),
    'X-Request-Id': random.pick(['x'.repeat(1_000), '\u00ff', 'a b', '${jndi:ldap://x}', '']),
    'Accept-Encoding': random.pick(['gzip, br;q=0', '*', 'identity;q=0', '']),
    'If-Range': random.pick(['"x"', 'W/"x"', 'Thu, 01 Jan 1970 00:00:00 GMT']),
    Cookie: random.pick(['a=b', '='.repeat(2_000)]),
    Origin: random.pick(['null', 'https://evil.example']),
    Te: 'trailers',
    Via: '1.1 a',
    Forwarded: 'host=evil.example;proto=https',
  }
  const chosen = Object.entries(headers).filter(() => random.chance(15))
  return Object.fromEntries(chosen)
}

/** Every method at every kind of URL: what is not for it is refused with what is, and OPTIONS says what is. */
export async function methodCase({ random, client, fixture }: FuzzCase): Promise<void> {
  const name = random.chance(50) ? fixture.repository : validName(random)
  const long = 'a'.repeat(random.pick([8_200, 10_000, 14_000]))
  for (let more = random.between(3, 8); more > 0; more--) {
    const method = random.pick([
      'POST',
      'PATCH',
      'OPTIONS',
      'TRACE',
      'PROPFIND',
      'SEARCH',
      'MKCOL',
      'PURGE',
      'LOCK',
      'REPORT',
    ])
    const atRoute = method === 'OPTIONS' ? answered(200) : refused(405, 'UNSUPPORTED')
    const [target, expected] = random.pick<readonly [string, Expected]>([
      ['/v2/', atRoute],
      ['/v2/_catalog', atRoute],
      [`/v2/${name}/tags/list`, atRoute],
      [`/v2/${name}/blobs/${validDigest(random)}`, atRoute],
      [`/v2/${name}/manifests/latest`, atRoute],
      [`/v2/${name}/referrers/${validDigest(random)}`, atRoute],
      ['/v2/_oci/ext/discover', atRoute],
      [`/v2/${fixture.repository}`, refused(404, 'UNSUPPORTED')],
      [`/v2/${name}/nonsense/x/y`, refused(404, 'UNSUPPORTED')],
      ['/', atRoute],
      [random.pick(['/v1/', '/v3/', '/v2/_catalog/x', '/..', '/v2/..', '//', '/v2/%']), answered(400, 404)],
      [`/v2/${name}/${long}`, refused(414, 'UNSUPPORTED')],
      [`/v2/${long}/tags/list`, refused(414, 'UNSUPPORTED')],
      [`/v2/?${long}`, refused(414, 'UNSUPPORTED')],
    ])
    await client.send({ method, target, ...(random.chance(30) && { body: random.bytes(100) }) }, expected)
  }
}
