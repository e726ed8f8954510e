import assert from 'node:assert/strict'
import { digestOf, mediaTypes } from '../content.ts'
import { type Answer, assertContent } from '../registry-client.ts'
import type { FuzzCase } from './fixture.ts'
import { type Expected, answered, refused } from './oracle.ts'
import type { Random } from '../random.ts'
import { brokenDigest, brokenName, inventedUpload, validDigest, validName } from './values.ts'

const UNKNOWN_UPLOAD = refused(404, 'BLOB_UPLOAD_UNKNOWN')
const INVALID_DIGEST = refused(400, 'DIGEST_INVALID')
const OUT_OF_ORDER = refused(416, 'RANGE_INVALID')

/** An upload as this side knows it. */
interface KnownUpload {
  readonly repository: string
  readonly id: string
  readonly target: string
  received: Buffer
}

type Step = (fuzz: FuzzCase, upload: KnownUpload) => Promise<void>

/** An upload with chunks that fit and chunks that do not, and each way to end it. */
export async function uploadCase(fuzz: FuzzCase): Promise<void> {
  const { random } = fuzz
  const repository = ownRepository(fuzz)
  const upload = await begin(fuzz, repository)
  for (let more = random.between(0, 5); more > 0; more--) await random.weighted(STEPS)(fuzz, upload)
  await random.weighted(ENDINGS)(fuzz, upload)
}

/** A repository that no other case writes to. */
function ownRepository({ random, number }: FuzzCase): string {
  return `${validName(random, 3)}/case-${number}`
}

async function begin({ random, client, ledger }: FuzzCase, repository: string): Promise<KnownUpload> {
  const query = random.pick(['', '', '?digest-algorithm=sha256', '?digest-algorithm=sha512', '?ns=a', '?from=fuzz/x'])
  const answer = await client.send(
    { method: 'POST', target: `/v2/${repository}/blobs/uploads/${query}` },
    answered(202),
  )
  const id = answer.header('docker-upload-uuid') ?? ''
  ledger.openUploads.add(id)
  return { repository, id, target: targetOf(answer), received: Buffer.alloc(0) }
}

const takeChunk: Step = async ({ random, client }, upload) => {
  const chunk = someChunk(random)
  const start = upload.received.length
  const range = chunk.length > 0 && random.chance(60)
  const unit = random.pick(['', '', 'bytes ', 'bytes='])
  const headers = {
    'Content-Type': mediaTypes.octetStream,
    ...(range && { 'Content-Range': `${unit}${start}-${start + chunk.length - 1}` }),
  }
  const request = { method: 'PATCH', target: upload.target, headers, body: chunk, streamed: random.chance(30) }
  const answer = await client.send(request, answered(202))
  upload.received = Buffer.concat([upload.received, chunk])
  assert.equal(targetOf(answer), upload.target)
  assert.equal(answer.header('range'), `0-${Math.max(0, upload.received.length - 1)}`)
}

/** A chunk that must be refused and leave the upload as it was. */
const refuseChunk: Step = async ({ random, client }, upload) => {
  const chunk = random.bytes(random.between(1, 500))
  const { length } = upload.received
  const [range, expected] = random.pick<() => readonly [string, Expected]>([
    () => [`${length + 1}-${length + chunk.length}`, OUT_OF_ORDER],
    () => [`${length + 10_000}-${length + 9_999 + chunk.length}`, OUT_OF_ORDER],
    () => (length > 0 ? [`0-${chunk.length - 1}`, OUT_OF_ORDER] : [`7-${6 + chunk.length}`, OUT_OF_ORDER]),
    () => [`${length}-${length + chunk.length}`, WRONG_LENGTH],
    () => [`${length}-${length + chunk.length + 10_000}`, WRONG_LENGTH],
    () => (chunk.length > 1 ? [`${length}-${length + chunk.length - 2}`, WRONG_LENGTH] : ['1-0', OUT_OF_ORDER]),
    () => [brokenContentRange(random), OUT_OF_ORDER],
  ])()
  const isLast = random.chance(30)
  await client.send(
    {
      method: isLast ? 'PUT' : 'PATCH',
      target: isLast ? `${upload.target}?digest=${validDigest(random)}` : upload.target,
      headers: { 'Content-Range': range },
      body: chunk,
      streamed: random.chance(20),
    },
    expected,
  )
}

const WRONG_LENGTH: Expected = { statuses: [400, 416], codes: ['SIZE_INVALID', 'RANGE_INVALID'] }

function brokenContentRange(random: Random): string {
  return random.pick([
    '',
    '-',
    '0',
    '0-',
    '-0',
    '9-0',
    'a-b',
    '0x0-0x1',
    '0-1-2',
    '0--1',
    '-1-1',
    '0 - 1',
    '0-1,2-3',
    '+0-1',
    '0-1e3',
    'bytes',
    'bytes ',
    'bytes */*',
    'bytes */1',
    'bytes 0-',
    'items 0-1',
    '0-1/x',
    '0-1//2',
    '\u00b2-\u00b3',
    '1.0-2',
    `0-${'9'.repeat(400)}`,
    `${'9'.repeat(30)}-${'9'.repeat(31)}`,
    `${'0'.repeat(3_000)}-1`,
    'NaN-NaN',
    '0-Infinity',
  ])
}

const askStatus: Step = async ({ random, client }, upload) => {
  const answer = await client.send({ method: random.pick(['GET', 'HEAD']), target: upload.target }, answered(204))
  assert.equal(answer.header('range'), `0-${Math.max(0, upload.received.length - 1)}`)
}

/** The id in another repository, and another id in this one, open nothing. */
const goAstray: Step = async ({ random, client, fixture }, upload) => {
  const [name, id] = random.pick([
    [fixture.repository, upload.id],
    [`${upload.repository}-x`, upload.id],
    [upload.repository, inventedUpload(random)],
    [upload.repository, upload.id.toUpperCase().replace(/^[^A-F]*$/, 'x')],
    [upload.repository, `${upload.id}%00`],
    [upload.repository, upload.id.slice(1)],
  ])
  const method = random.pick(['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'])
  const target = `/v2/${name}/blobs/uploads/${id}?digest=${validDigest(random)}`
  await client.send({ method, target, ...(method.startsWith('P') && { body: Buffer.from('astray') }) }, UNKNOWN_UPLOAD)
}

const closeWithBrokenDigest: Step = async ({ random, client }, upload) => {
  const { text } = brokenDigest(random)
  const query = random.pick([
    '',
    '?',
    '?digest',
    '?digest=',
    `?digest=${text}`,
    `?digest=${text}&digest=${text}`,
    '?Digest=x',
  ])
  await client.send({ method: 'PUT', target: `${upload.target}${query}`, body: random.bytes(20) }, INVALID_DIGEST)
}

const STEPS: readonly (readonly [number, Step])[] = [
  [6, takeChunk],
  [4, refuseChunk],
  [2, askStatus],
  [2, goAstray],
  [2, closeWithBrokenDigest],
]

const finish: Step = async (fuzz, upload) => {
  const { random, client, ledger } = fuzz
  const last = random.chance(60) ? someChunk(random) : Buffer.alloc(0)
  const start = upload.received.length
  const bytes = Buffer.concat([upload.received, last])
  const digest = digestOf(bytes, random.pick(['sha256', 'sha512']))
  const range = last.length > 0 && random.chance(50)
  const answer = await client.send(
    {
      method: 'PUT',
      target: `${upload.target}?digest=${random.chance(20) ? digest.replace(':', '%3A') : digest}`,
      headers: range ? { 'Content-Range': `${start}-${start + last.length - 1}` } : {},
      body: last,
    },
    answered(201),
  )
  assert.equal(answer.header('docker-content-digest'), digest)
  ledger.openUploads.delete(upload.id)
  ledger.acknowledge({ repository: upload.repository, kind: 'blobs', digest, bytes })
  await gone(fuzz, upload)
  if (random.chance(20)) await removeBlob(fuzz, { repository: upload.repository, digest })
}

async function removeBlob({ client, ledger }: FuzzCase, blob: { repository: string; digest: string }): Promise<void> {
  const target = `/v2/${blob.repository}/blobs/${blob.digest}`
  await client.send({ method: 'DELETE', target }, answered(202))
  ledger.forget({ ...blob, kind: 'blobs' })
  await client.send({ method: 'GET', target }, refused(404, 'BLOB_UNKNOWN'))
  await client.send({ method: 'DELETE', target }, refused(404, 'BLOB_UNKNOWN'))
}

const finishWithOtherDigest: Step = async (fuzz, upload) => {
  const target = `${upload.target}?digest=${validDigest(fuzz.random)}`
  await fuzz.client.send({ method: 'PUT', target, body: someChunk(fuzz.random) }, INVALID_DIGEST)
  fuzz.ledger.openUploads.delete(upload.id)
  await gone(fuzz, upload)
}

const cancel: Step = async (fuzz, upload) => {
  await fuzz.client.send({ method: 'DELETE', target: upload.target }, answered(204))
  fuzz.ledger.openUploads.delete(upload.id)
  await gone(fuzz, upload)
}

const leaveOpen: Step = async () => {}

/** A client that gives up in the middle of a chunk: what came of it counts, and nothing else. */
const cutOff: Step = async (fuzz, upload) => {
  const { random, client, ledger } = fuzz
  const chunk = random.bytes(random.between(0, 2_000))
  const framing = random.pick(['Content-Length: 5000\r\n\r\n', 'Transfer-Encoding: chunked\r\n\r\n1388\r\n'])
  const head = `PATCH ${upload.target} HTTP/1.1\r\nHost: a\r\n${framing}`
  const ending = random.pick(['finish', 'reset'] as const)
  await client.sendRaw({ pieces: [Buffer.from(head), chunk], ending, methods: ['PATCH'], isAnswered: false })
  // After a reset nobody knows when the server notices.
  if (ending === 'reset') return
  const answer = await client.send({ method: 'GET', target: upload.target }, answered(204))
  const end = Number(/^0-(\d+)$/.exec(answer.header('range') ?? '')?.[1])
  // "0-0" stands for no byte and for one.
  if (end === 0) return cancel(fuzz, upload)
  const bytes = Buffer.concat([upload.received, chunk]).subarray(0, end + 1)
  const digest = digestOf(bytes)
  await client.send({ method: 'PUT', target: `${upload.target}?digest=${digest}` }, answered(201))
  ledger.openUploads.delete(upload.id)
  ledger.acknowledge({ repository: upload.repository, kind: 'blobs', digest, bytes })
}

const ENDINGS: readonly (readonly [number, Step])[] = [
  [5, finish],
  [3, finishWithOtherDigest],
  [3, cancel],
  [1, leaveOpen],
  [2, cutOff],
]

async function gone({ random, client }: FuzzCase, upload: KnownUpload): Promise<void> {
  const method = random.pick(['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'])
  await client.send({ method, target: `${upload.target}?digest=${validDigest(random)}` }, UNKNOWN_UPLOAD)
}

/** A blob in one request: right, wrong, mounted, and with parameters that contradict each other. */
export async function singleRequestCase(fuzz: FuzzCase): Promise<void> {
  const { random, client, ledger, fixture } = fuzz
  const repository = ownRepository(fuzz)
  const start = `/v2/${repository}/blobs/uploads/`
  const { digest: known, bytes: knownBytes } = random.pick(fixture.blobs)
  const bytes = someChunk(random)
  const digest = digestOf(bytes, random.pick(['sha256', 'sha512']))
  const post = (query: string, expected: Expected, body = bytes): Promise<Answer> =>
    client.send({ method: 'POST', target: start + query, body, streamed: random.chance(30) }, expected)
  const acknowledge = (digest: string, bytes: Buffer) =>
    ledger.acknowledge({ repository, kind: 'blobs', digest, bytes })

  for (let more = random.between(1, 4); more > 0; more--) {
    await random.pick([
      async () => post(`?digest=${validDigest(random)}`, INVALID_DIGEST),
      async () => post(`?digest=${brokenDigest(random).text}`, INVALID_DIGEST),
      async () => post(`?digest=${brokenDigest(random).text}&digest=${digest}`, INVALID_DIGEST),
      async () => post(`?mount=${brokenDigest(random).text}&from=${fixture.repository}`, INVALID_DIGEST),
      async () => post(`?mount=${known}&from=${queryName(random)}`, refused(400, 'NAME_INVALID')),
      async () =>
        post(`?digest-algorithm=${random.pick(['md5', '', 'SHA256', 'sha1', '%00', 'constructor'])}`, INVALID_DIGEST),
    ])()
  }
  const ending = random.below(4)
  if (ending === 0) {
    await post(`?digest=${digest}`, answered(201))
    acknowledge(digest, bytes)
  } else if (ending === 1) {
    const from = random.pick([`&from=${fixture.repository}`, `&from=${fixture.repository.replace('/', '%2F')}`, ''])
    await post(`?mount=${known}${from}&digest=${digest}`, answered(201), Buffer.alloc(0))
    acknowledge(known, knownBytes)
    const target = `/v2/${repository}/blobs/${known}`
    assertContent(await client.send({ method: 'GET', target }, answered(200)), { bytes: knownBytes, digest: known })
  } else if (ending === 2) {
    // What cannot be mounted is uploaded instead.
    const answer = await post(`?mount=${validDigest(random)}&from=${validName(random)}`, answered(202), Buffer.alloc(0))
    await cancelSession(fuzz, answer)
  } else {
    await client.send({ method: 'GET', target: `/v2/${repository}/blobs/${digest}` }, refused(404, 'NAME_UNKNOWN'))
  }
}

async function cancelSession({ client }: FuzzCase, answer: Answer): Promise<void> {
  await client.send({ method: 'DELETE', target: targetOf(answer) }, answered(204))
}

/** A broken name for a query, where escapes are decoded and so would mend some of them. */
function queryName(random: Random): string {
  const { text } = brokenName(random)
  return encodeURIComponent(text)
}

function someChunk(random: Random): Buffer {
  const length = random.weighted([
    [2, 0],
    [10, random.between(1, 600)],
    [1, random.between(60_000, 140_000)],
  ])
  // Large ones are cheap to make and still like no other.
  return length <= 600 ? random.bytes(length) : Buffer.concat([random.bytes(32), Buffer.alloc(length - 32, 'entrepot')])
}

/** The path that an answer's Location names, whichever form it has. */
function targetOf(answer: Answer): string {
  const location = answer.header('location')
  assert.ok(location, 'no Location')
  return new URL(location, answer.url).pathname
}
