import assert from 'node:assert/strict'
import type { Answer } from '../registry-client.ts'
import { imageDocument, json } from '../content.ts'
import type { FuzzCase } from './fixture.ts'
import { type Expected, answered, either, refused } from './oracle.ts'
import type { Random } from '../random.ts'
import { someName, someReference, validDigest } from './values.ts'

const REFUSED_REQUEST = refused(400, 'UNSUPPORTED')
const TOO_LARGE = refused(431, 'UNSUPPORTED')
/** The id that the server makes where it could read none. */
const MADE_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/

/** Bytes that are no HTTP request, or hardly one: each is refused, and the connection closed. */
export async function brokenRequestCase({ random, client, fixture }: FuzzCase): Promise<void> {
  const path = `/v2/${fixture.repository}/tags/list`
  const [text, expected] = random.pick(BROKEN_REQUESTS)(random, path)
  const [answer, ...more] = await client.sendRaw(
    { pieces: cutUp(random, latin1(text)), ending: 'wait', methods: ['GET'], isAnswered: true },
    [expected],
  )
  assert.equal(more.length, 0, 'one broken request got several answers')
  if (answer !== undefined && answer.status >= 400) assertNamed(answer)
}

/** Each makes one request; all lines but the broken one are right. */
const BROKEN_REQUESTS: readonly ((random: Random, path: string) => readonly [string, Expected])[] = [
  (random, path) => [
    `${random.pick(['', ' ', 'G ET', 'get', 'GET\t', 'G\0T', 'BREW', '\u00ff', 'GET /x', 'PRI', '\x16\x03\x01\x02'])} ${path} HTTP/1.1\r\n${HOST}\r\n`,
    REFUSED_REQUEST,
  ],
  (random, path) => [
    `GET ${path} ${random.pick(['HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/3', 'HTTP/1', 'HTTP/1.1.1', 'http/1.1', 'HTTPS/1.1', 'HTTP/11', 'HTTP/1.1x', 'HTTP', 'ICE/1.0', 'FTP/1.1'])}\r\n${HOST}\r\n`,
    REFUSED_REQUEST,
  ],
  // Without a version it is HTTP/0.9, which has no headers, no status and no place here.
  (random, path) => [`GET ${path}${random.pick(['', ' '])}\r\n\r\n`, REFUSED_REQUEST],
  (random, path) => [
    `GET ${random.pick([path.slice(1), '', `${path} ${path}`, `${path}\t`, '\\', `http:/${path}`, `*${path}`, `${path}\0`, `${path}\u00e9`, `${path}\x7f`, ':80/', '//[::1'])} HTTP/1.1\r\n${HOST}\r\n`,
    either(REFUSED_REQUEST, refused(404, 'UNSUPPORTED')),
  ],
  (random, path) => [
    `GET ${path} HTTP/1.1${random.pick(['\n', '\r', '\n\r', '\r\r\n', '\0\r\n', ' \r\n', '\r\n\n'])}${HOST}\r\n`,
    either(REFUSED_REQUEST, answered(200)),
  ],
  (_random, path) => [`GET ${path} HTTP/1.1\n${HOST.replaceAll('\r', '')}\n`, REFUSED_REQUEST],
  (random, path) => [
    `GET ${path} HTTP/1.1\r\n${HOST}${random.pick(['x', ':x', ' : x', 'a b: c', 'a : b', 'a\0: b', '\u00e9: b', 'a: b\0', 'a: b\rc: d', 'a\t: b', '(a): b', 'a: \x01', 'a: \x7f', 'a[]: b', '"a": b', '{}: b', '=: b', '@: a'])}\r\n\r\n`,
    REFUSED_REQUEST,
  ],
  // Obsolete folding of a header's value over lines.
  (random, path) => [
    `GET ${path} HTTP/1.1\r\n${HOST}x: a\r\n${random.pick([' ', '\t', '  \t '])}${random.pick(['b', 'Content-Length: 5', ''])}\r\n\r\n`,
    REFUSED_REQUEST,
  ],
  (random, path) => [
    `GET ${path} HTTP/1.1\r\n${random.pick(['', 'Connection: close\r\n', 'Hos: a\r\n'])}\r\n`,
    REFUSED_REQUEST,
  ],
  (random, path) => [`GET ${path} HTTP/1.1\r\n${HOST}Host: ${random.pick(['a', 'b', ''])}\r\n\r\n`, REFUSED_REQUEST],
  (random, path) => [
    `GET ${path} HTTP/1.1\r\nConnection: close\r\nHost: ${random.pick(['a/b', 'a?b', 'a b', 'a#b', 'a@b', 'a\\b', '/', '[', '\u00ff', 'a:b:c', '{', 'a"'])}\r\n\r\n`,
    REFUSED_REQUEST,
  ],
  (random, path) => [
    `GET ${path} HTTP/1.1\r\n${HOST}x: ${'y'.repeat(random.pick([16_400, 20_000, 66_000]))}\r\n\r\n`,
    TOO_LARGE,
  ],
  (random, path) => [`GET ${path} HTTP/1.1\r\n${HOST}${'x: y\r\n'.repeat(random.pick([4_000, 9_000]))}\r\n`, TOO_LARGE],
  (random, path) => [`GET ${path}?${'x'.repeat(random.pick([17_000, 65_536]))} HTTP/1.1\r\n${HOST}\r\n`, TOO_LARGE],
  (random, path) => [
    `GET ${path} HTTP/1.1\r\n${HOST}Expect: ${random.pick(['200-ok', '100-continued', 'x', '"'])}\r\n\r\n`,
    refused(417, 'UNSUPPORTED'),
  ],
  (random) => [
    `CONNECT ${random.pick(['a:80', '127.0.0.1:22', '/v2/', '*'])} HTTP/1.1\r\n${HOST}\r\n`,
    either(REFUSED_REQUEST, refused(405, 'UNSUPPORTED')),
  ],
  (random) => [random.bytes(random.between(5, 400)).toString('latin1') + '\r\n\r\n', REFUSED_REQUEST],
  (random) => [`${random.text('abc \r\n:/{}', 20, 300)}\r\n\r\n`, REFUSED_REQUEST],
]

const HOST = 'Host: a\r\nConnection: close\r\n'

/** Requests that are right though unusual: they get the answer of the usual form. */
export async function unusualRequestCase({ random, client, fixture }: FuzzCase): Promise<void> {
  const path = `/v2/${fixture.repository}/tags/list`
  const text = random.pick([
    `GET http://${random.pick(['a', 'a:5000', '[::1]:80', 'registry.example'])}${path} HTTP/1.1\r\n${HOST}\r\n`,
    `GET HTTPS://a${path}?n=5 HTTP/1.1\r\n${HOST}\r\n`,
    `\r\n\r\nGET ${path} HTTP/1.1\r\n${HOST}\r\n`,
    `GET ${path} HTTP/1.0\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nhOsT:a\r\nCONNECTION:CLOSE\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nHost:\t[::1]:5000  \r\nConnection: close\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${HOST}x: ${random.text('\u0080\u00e9\u00ff\t !', 1, 100)}y\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${HOST}Expect: 100-continue\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nGET /`,
    `GET ${path} HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0\r\nx: y\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${HOST}${'x: y\r\n'.repeat(random.between(500, 900))}\r\n`,
  ])
  await client.sendRaw({ pieces: cutUp(random, latin1(text)), ending: 'wait', methods: ['GET'], isAnswered: true }, [
    answered(200),
  ])
}

/** Clients that give up: in the line, in the headers, in the body, or before they read the answer. */
export async function givingUpCase({ random, client, fixture, ledger, number }: FuzzCase): Promise<void> {
  const name = fixture.pushRepository
  // Nothing that was cut may be stored; its bytes are like no other, so that they would show on the disk.
  const body = random.chance(50)
    ? random.bytes(random.between(100, 70_000))
    : imageDocument({ mediaType: 'a/b', digest: validDigest(random), size: 1 }, [], {
        annotations: { number: String(number) },
      })
  const head = random.pick([
    `PUT /v2/${name}/manifests/cut-${number}`,
    `POST /v2/${name}/blobs/uploads/?digest=${validDigest(random)}`,
    `GET /v2/${name}/blobs/${fixture.blobs[3].digest}`,
  ])
  const framing = random.pick([
    `Content-Length: ${body.length}\r\n\r\n`,
    `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`,
    `Content-Length: 9007199254740991\r\n\r\n`,
    `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
  ])
  const whole = Buffer.concat([latin1(`${head} HTTP/1.1\r\nHost: a\r\n${framing}`), body])
  const part = whole.subarray(0, random.pick([random.below(head.length), random.below(whole.length), whole.length - 1]))
  const ending = random.pick(['finish', 'reset'] as const)
  await client.sendRaw({ pieces: cutUp(random, part), ending, methods: ['PUT'], isAnswered: false })
  if (random.chance(30)) await leaveEarly({ random, client, fixture, ledger, number })
}

/** A whole request whose answer nobody waits for. */
async function leaveEarly({ random, client, fixture, ledger, number }: FuzzCase): Promise<void> {
  const name = fixture.pushRepository
  const manifest = json({ schemaVersion: 2, manifests: [], annotations: { early: String(number) } })
  ledger.suspect(manifest)
  const put = `PUT /v2/${name}/manifests/early-${number} HTTP/1.1\r\nHost: a\r\nContent-Length: ${manifest.length}\r\n\r\n`
  const get = `GET /v2/${name}/blobs/${fixture.blobs[3].digest} HTTP/1.1\r\nHost: a\r\n\r\n`
  const pieces = [random.chance(50) ? Buffer.concat([latin1(put), manifest]) : latin1(get.repeat(random.between(1, 5)))]
  await client.sendRaw({ pieces, ending: 'reset', methods: ['PUT'], isAnswered: false })
}

/** Several requests at once: each gets its own answer, in order, and what follows cannot change that. */
export async function pipelineCase({ random, client, fixture, number }: FuzzCase): Promise<void> {
  const [blob] = fixture.blobs
  const known = [
    [`/v2/${fixture.repository}/tags/list`, answered(200)],
    [`/v2/${fixture.repository}/blobs/${blob.digest}`, answered(200)],
    [`/v2/${fixture.repository}/blobs/${fixture.blobs[3].digest}`, answered(200)],
    [`/v2/${fixture.repository}/blobs/x`, refused(400, 'DIGEST_INVALID')],
    ['/v2/', answered(200)],
    ['/nowhere', refused(404, 'UNSUPPORTED')],
  ] as const
  const requests = Array.from({ length: random.between(2, 6) }, (_, index) => {
    const [target, expected] = random.chance(80)
      ? random.pick<readonly [string, Expected]>(known)
      : ([`/v2/${someName(random).text}/manifests/${someReference(random).text}`, answered(400, 404)] as const)
    return { method: random.pick(['GET', 'GET', 'HEAD']), target, expected, id: `case-${number}.${index}` }
  })
  const isBroken = random.chance(40)
  const texts = requests.map(({ method, target, id }, index) => {
    const last = index === requests.length - 1 && !isBroken
    return `${method} ${target} HTTP/1.1\r\nHost: a\r\nX-Request-Id: ${id}\r\n${last ? 'Connection: close\r\n' : ''}\r\n`
  })
  const garbage = isBroken
    ? random.pick(['GARBAGE\r\n\r\n', '\0', 'GET / HTTP/9.9\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n'])
    : ''
  const answers = await client.sendRaw(
    {
      pieces: cutUp(random, latin1(texts.join('') + garbage)),
      ending: 'wait',
      methods: requests.map(({ method }) => method),
      isAnswered: true,
    },
    [...requests.map(({ expected }) => expected), REFUSED_REQUEST],
  )
  const ids = answers.map((answer) => answer.header('x-request-id') ?? '')
  const made = isBroken ? ids.splice(requests.length) : []
  assert.deepEqual(
    ids,
    requests.map(({ id }) => id),
    'answers out of order',
  )
  assert.equal(made.length, isBroken ? 1 : 0, 'what is no request gets one answer')
  for (const id of made) assert.match(id, MADE_ID)
}

function assertNamed(answer: Answer): void {
  assert.match(answer.header('x-request-id') ?? '', MADE_ID)
  assert.equal(answer.header('connection'), 'close', 'a broken request must end its connection')
}

/** The bytes in one to three pieces, as packets may cut them. */
export function cutUp(random: Random, bytes: Buffer): Buffer[] {
  if (random.chance(60)) return [bytes]
  const [first = 0, second = 0] = [random.below(bytes.length + 1), random.below(bytes.length + 1)].toSorted(
    (a, b) => a - b,
  )
  return [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)].filter(
    (piece) => piece.length > 0,
  )
}

export function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
