import assert from 'node:assert/strict'
import type { FuzzCase } from './fixture.ts'
import { cutUp, latin1 } from './raw-cases.ts'
import type { Random } from '../random.ts'

/** Stands in every request that is hidden in a body: no answer and no line of the log may have it. */
export const SMUGGLED = 'smuggled'

/**
 * Messages of which two readers could see two ends, each with a request hidden where one of them goes on: the hidden
 * one is never treated as a request. A request after it on the same connection is answered, or the connection is closed.
 */
export async function smugglingCase({ random, client, fixture, number }: FuzzCase): Promise<void> {
  const hidden = `GET /v2/${SMUGGLED}/case-${number}/tags/list HTTP/1.1\r\nHost: a\r\nX-Request-Id: ${SMUGGLED}-${number}\r\n\r\n`
  const [method, target] = random.pick([
    ['POST', `/v2/${fixture.repository}/blobs/x`],
    ['PUT', `/v2/${fixture.pushRepository}/manifests/outer-${number}`],
    ['GET', `/v2/${fixture.repository}/tags/list`],
    ['DELETE', `/v2/${fixture.repository}/manifests/absent`],
    ['PATCH', `/v2/${fixture.repository}/blobs/uploads/absent`],
    ['POST', `/v2/${fixture.repository}/blobs/uploads/?digest=sha256:x`],
    ['POST', '/nowhere'],
  ] as const)
  const { headers, body, end } = random.pick(SHAPES)(random, hidden)
  const first = `${method} ${target} HTTP/1.1\r\nHost: a\r\nX-Request-Id: outer-${number}\r\n${headers}\r\n\r\n${body}`
  const next = `GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Request-Id: next-${number}\r\nConnection: close\r\n\r\n`
  const answers = await client.sendRaw({
    pieces: cutUp(random, latin1(first + next)),
    ending: 'wait',
    methods: [method, 'GET'],
    isAnswered: true,
  })
  const ids = answers.map((answer) => answer.header('x-request-id') ?? 'none')
  assert.ok(!ids.some((id) => id.startsWith(SMUGGLED)), `a hidden request was answered: ${ids.join(', ')}`)
  if (end === 'clear') {
    assert.deepEqual(ids, [`outer-${number}`, `next-${number}`])
    assert.equal(answers[1]?.status, 200)
  } else {
    const [first, ...more] = answers
    assert.equal(more.length, 0, `the connection went on: ${ids.join(', ')}`)
    // A request may be answered before its body turns out to be broken.
    const isAnsweredBefore = end === 'broken' && ids[0] === `outer-${number}`
    assert.ok(first?.status === 400 || isAnsweredBefore, `a message with two ends was taken: ${first?.status}`)
  }
}

interface Shape {
  /** The lines that say where the body ends. */
  readonly headers: string
  readonly body: string
  /**
   * Whether RFC 9112 leaves no doubt about the end, so that the connection goes on; or the head says it in two ways, and
   * is refused; or the body is broken, which the server may notice late.
   */
  readonly end: 'clear' | 'doubtful' | 'broken'
}

const SHAPES: readonly ((random: Random, hidden: string) => Shape)[] = [
  // The hidden request is a body like any other.
  (_random, hidden) => ({ headers: `Content-Length: ${hidden.length}`, body: hidden, end: 'clear' }),
  (random, hidden) => ({
    headers: `Transfer-Encoding: ${random.pick(['chunked', 'Chunked', '\tchunked', 'chunked '])}`,
    body: chunked(hidden),
    end: 'clear',
  }),
  (random, hidden) => ({
    headers: 'Transfer-Encoding: chunked',
    body: `${hidden.length.toString(16)};${random.pick(['a', 'a=b', 'a="b"'])}\r\n${hidden}\r\n0\r\n${random.pick(['', 'x: y\r\n'])}\r\n`,
    end: 'clear',
  }),
  // Names that only look like the ones that count.
  (random, hidden) => ({
    headers: `${random.pick(['Transfer_Encoding', 'X-Transfer-Encoding', 'TransferEncoding', 'TE'])}: chunked\r\nContent-Length: ${hidden.length}`,
    body: hidden,
    end: 'clear',
  }),
  // Both a length and chunks, in either order.
  (random, hidden) => both(random, `Content-Length: ${hidden.length + 5}`, `0\r\n\r\n${hidden}`),
  (random, hidden) => both(random, 'Content-Length: 4', chunked(hidden)),
  (random, hidden) => both(random, 'Content-Length: 0', chunked(hidden)),
  // Codings that are not chunked, or not last.
  (random, hidden) => ({
    headers: `Transfer-Encoding: ${random.pick(['xchunked', 'chunked, identity', 'identity', 'gzip', 'chunked, gzip', 'chunked, chunked', '"chunked"', 'chunked;x=y', 'chunked\x0b', '\x0cchunked', 'chunke', 'chunkedd', ''])}`,
    body: random.pick([chunked(hidden), hidden]),
    end: 'doubtful',
  }),
  (random, hidden) => ({
    headers: `Transfer-Encoding: chunked\r\nTransfer-Encoding: ${random.pick(['identity', 'x', 'chunked', ''])}`,
    body: random.pick([chunked(hidden), `0\r\n\r\n${hidden}`]),
    end: 'doubtful',
  }),
  // Header lines that are broken where it matters.
  (random, hidden) => ({
    headers: random.pick([
      'Transfer-Encoding : chunked',
      'Transfer-Encoding\t: chunked',
      'x: y\r\n Transfer-Encoding: chunked',
      'x: y\rTransfer-Encoding: chunked',
      'x: y\nTransfer-Encoding: chunked',
      'Transfer-Encoding:\r\n chunked',
      'Transfer-Encoding: chu\0nked',
      '\0Transfer-Encoding: chunked',
    ]),
    body: chunked(hidden),
    end: 'doubtful',
  }),
  // Lengths that are not one number.
  (random, hidden) => ({
    headers: random.pick([
      `Content-Length: ${hidden.length}\r\nContent-Length: 0`,
      `Content-Length: 0\r\nContent-Length: ${hidden.length}`,
      `Content-Length: 0, ${hidden.length}`,
      `Content-Length: +${hidden.length}`,
      `Content-Length: -${hidden.length}`,
      `Content-Length: 0x${hidden.length.toString(16)}`,
      `Content-Length: ${hidden.length}.0`,
      `Content-Length: ${hidden.length};`,
      `Content-Length: ${hidden.length} 0`,
      `Content-Length: "${hidden.length}"`,
      `Content-Length: ${2n ** 64n + BigInt(hidden.length)}`,
      `Content-Length: ${'9'.repeat(100)}`,
      `Content-Length : ${hidden.length}`,
      `Content-Length\0: ${hidden.length}`,
      `x: y\r\n Content-Length: ${hidden.length}`,
      `x: y\rContent-Length: ${hidden.length}`,
    ]),
    body: hidden,
    end: 'doubtful',
  }),
  // Chunks that are not as they say.
  (random, hidden) => ({
    headers: 'Transfer-Encoding: chunked',
    body: random.pick(brokenChunks(hidden)),
    end: 'broken',
  }),
]

function both(random: Random, length: string, body: string): Shape {
  const lines = [length, 'Transfer-Encoding: chunked']
  return { headers: (random.chance(50) ? lines : lines.toReversed()).join('\r\n'), body, end: 'doubtful' }
}

function brokenChunks(hidden: string): readonly string[] {
  const size = hidden.length.toString(16)
  return [
    `${size}\n${hidden}\n0\n\n`,
    `${size}\r${hidden}\r\n0\r\n\r\n`,
    `${size}\r\n${hidden}0\r\n\r\n`,
    `${size}\r\n${hidden}XX0\r\n\r\n`,
    `0x${size}\r\n${hidden}\r\n0\r\n\r\n`,
    `+${size}\r\n${hidden}\r\n0\r\n\r\n`,
    `-${size}\r\n${hidden}\r\n0\r\n\r\n`,
    ` ${size}\r\n${hidden}\r\n0\r\n\r\n`,
    `1${'0'.repeat(16)}\r\n${hidden}\r\n0\r\n\r\n`,
    `${'f'.repeat(40)}\r\n${hidden}\r\n0\r\n\r\n`,
    `\r\n${hidden}\r\n0\r\n\r\n`,
    `g\r\n${hidden}\r\n0\r\n\r\n`,
    `5\r\n${hidden}\r\n0\r\n\r\n`,
    `0\n\n${hidden}`,
    `0\r\r\n${hidden}`,
    `0;a\nb\r\n\r\n${hidden}`,
    `0\r\nx y\r\n\r\n${hidden}`,
    `0\r\nTransfer-Encoding : chunked\r\n\r\n${hidden}`,
  ]
}

function chunked(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`
}
