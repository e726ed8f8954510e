import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request as httpRequest,
} from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { type TestRegistryOptions, startRegistry } from './harness.ts'
import { type Algorithm, type Descriptor, digestOf, imageDocument, mediaTypes, randomBlob } from './content.ts'

const ANSWER_TIMEOUT_MS = 30_000

/** The codes of spec "Error Codes", the two of "Legacy Docker support error codes", and the two that Docker's API adds. */
const ERROR_CODES = new Set([
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
  'TAG_INVALID',
  'MANIFEST_UNVERIFIED',
  'PAGINATION_NUMBER_INVALID',
  'RANGE_INVALID',
])

/** A whole answer of the registry. */
export interface Answer {
  readonly method: string
  readonly url: string
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** A header's value; several lines of it are joined by a comma. */
  header(name: string): string | undefined
  json(): unknown
}

export interface RequestOptions {
  headers?: OutgoingHttpHeaders
  /** Sent piece after piece where there are several. */
  body?: Buffer | string | readonly Buffer[]
  /** Sends the body without its length, as a stream does (`Transfer-Encoding: chunked`). */
  streamed?: boolean
}

/**
 * Requests as they go over the wire: nothing is added, followed, decoded or retried.
 * What must hold for every answer (error format, error codes, warnings, no 5xx) is asserted for each one.
 */
export class RegistryClient {
  readonly origin: string
  readonly #agent = new Agent({ keepAlive: true })

  /** @param origin `http://host:port` */
  constructor(origin: string) {
    this.origin = origin
  }

  /** @param target a path beginning with `/`, sent as it stands, or an absolute URL */
  async request(method: string, target: string, options: RequestOptions = {}): Promise<Answer> {
    const { host, path } = this.#split(target)
    const outgoing = httpRequest({ host: host.hostname, port: host.port, path, method, agent: this.#agent })
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      if (value !== undefined) outgoing.setHeader(name, value)
    }
    if (options.streamed) outgoing.setHeader('Transfer-Encoding', 'chunked')
    outgoing.setTimeout(ANSWER_TIMEOUT_MS, () => outgoing.destroy(new Error(`no answer to ${method} ${path}`)))
    const answered = once(outgoing, 'response')
    // A server may answer and close before it has read all of the body: that is no failure.
    outgoing.on('error', () => {})
    send(outgoing, options.body)
    const [incoming] = await answered
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    return checked(method, `${host.origin}${path}`, incoming, Buffer.concat(chunks))
  }

  get(target: string, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    return this.request('GET', target, { headers })
  }

  head(target: string, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    return this.request('HEAD', target, { headers })
  }

  post(target: string, options: RequestOptions = {}): Promise<Answer> {
    return this.request('POST', target, options)
  }

  delete(target: string): Promise<Answer> {
    return this.request('DELETE', target)
  }

  /** The Location header as an absolute URL, whichever form the registry chose, with parameters added to it. */
  location(answer: Answer, parameters: Record<string, string> = {}): string {
    const value = answer.header('location')
    assert.ok(value, `${answer.method} ${answer.url} (${answer.status}) has no Location`)
    const url = new URL(value, answer.url)
    for (const [name, parameter] of Object.entries(parameters)) url.searchParams.append(name, parameter)
    return url.href
  }

  /** The URL of the `rel="next"` link (RFC 5988), or undefined on the last page. */
  next(answer: Answer): string | undefined {
    const value = answer.header('link')
    if (value === undefined) return undefined
    const target = /^<([^>]+)>\s*;\s*rel="?next"?$/.exec(value)?.[1]
    assert.ok(target, `not an RFC 5988 link with the relation "next": ${value}`)
    return new URL(target, answer.url).href
  }

  /** Begins an upload and gives its URL. */
  async startUpload(name: string, query = ''): Promise<string> {
    const answer = await this.post(`/v2/${name}/blobs/uploads/${query}`)
    assert.equal(answer.status, 202, describe(answer))
    return this.location(answer)
  }

  patchChunk(url: string, chunk: Buffer, range?: string): Promise<Answer> {
    return this.request('PATCH', url, {
      headers: { 'Content-Type': mediaTypes.octetStream, ...(range && { 'Content-Range': range }) },
      body: chunk,
    })
  }

  putBlob(
    url: string,
    digest: string,
    body: Buffer | readonly Buffer[] = Buffer.alloc(0),
    headers: OutgoingHttpHeaders = {},
  ) {
    const target = new URL(url)
    target.searchParams.append('digest', digest)
    return this.request('PUT', target.href, { headers: { 'Content-Type': mediaTypes.octetStream, ...headers }, body })
  }

  /** Pushes a blob by POST and PUT, and gives its descriptor. */
  async pushBlob(name: string, bytes: Buffer = randomBlob(), algorithm: Algorithm = 'sha256'): Promise<Descriptor> {
    const digest = digestOf(bytes, algorithm)
    const url = await this.startUpload(name, algorithm === 'sha256' ? '' : `?digest-algorithm=${algorithm}`)
    const answer = await this.putBlob(url, digest, bytes)
    assert.equal(answer.status, 201, describe(answer))
    return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
  }

  putManifest(name: string, reference: string, body: Buffer | string, mediaType: string): Promise<Answer> {
    return this.request('PUT', `/v2/${name}/manifests/${reference}`, { headers: { 'Content-Type': mediaType }, body })
  }

  /** Pushes a manifest that must be accepted, by its digest or by the reference given, and gives its descriptor. */
  async pushManifest(
    name: string,
    bytes: Buffer,
    mediaType: string,
    target: { reference?: string; algorithm?: Algorithm } = {},
  ): Promise<Descriptor> {
    const digest = digestOf(bytes, target.algorithm ?? 'sha256')
    const answer = await this.putManifest(name, target.reference ?? digest, bytes, mediaType)
    assert.equal(answer.status, 201, describe(answer))
    return { mediaType, digest, size: bytes.length }
  }

  /** Pushes an image of one config and one layer; `fields` are laid over its manifest. */
  async pushImage(
    name: string,
    target: { reference?: string; algorithm?: Algorithm } = {},
    fields: Record<string, unknown> = {},
  ): Promise<{ bytes: Buffer; descriptor: Descriptor }> {
    const config = await this.pushBlob(name, undefined, target.algorithm)
    const layer = await this.pushBlob(name, undefined, target.algorithm)
    const bytes = imageDocument(config, [layer], fields)
    return { bytes, descriptor: await this.pushManifest(name, bytes, mediaTypes.image, target) }
  }

  #split(target: string): { host: URL; path: string } {
    if (target.startsWith('/')) return { host: new URL(this.origin), path: target }
    const url = new URL(target)
    return { host: url, path: url.pathname + url.search }
  }
}

/** Starts a registry for one test file. */
export async function startClient(t: TestContext, options: TestRegistryOptions = {}): Promise<RegistryClient> {
  return new RegistryClient((await startRegistry(t, options)).url)
}

/**
 * The bytes that come back for a request written by hand, until the server closes the connection:
 * the request must ask for that, or be one that the client breaks off (`isCutOff`).
 */
export async function exchangeRaw(origin: string, text: string | Buffer, isCutOff = false): Promise<string> {
  const { hostname, port } = new URL(origin)
  const socket = connect(Number(port), hostname)
  socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error('no answer')))
  socket.write(text)
  if (isCutOff) socket.end()
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

/** Asserts a success that carries content: the exact bytes, their length, their digest and, for manifests, their type. */
export function assertContent(answer: Answer, expected: { bytes: Buffer; digest: string; mediaType?: string }): void {
  assert.equal(answer.status, 200, describe(answer))
  assertContentHeaders(answer, { ...expected, size: expected.bytes.length })
  assert.ok(answer.body.equals(expected.bytes), `${answer.url} gives ${answer.body.length} other bytes`)
}

/** Asserts the headers that spec "Checking if content exists in the registry" asks for. */
export function assertContentHeaders(answer: Answer, expected: { digest: string; size: number; mediaType?: string }) {
  assert.equal(answer.status, 200, describe(answer))
  assert.equal(answer.header('docker-content-digest'), expected.digest, 'Docker-Content-Digest')
  assert.equal(answer.header('content-length'), String(expected.size), 'Content-Length')
  if (expected.mediaType !== undefined) assert.equal(answer.header('content-type'), expected.mediaType, 'Content-Type')
}

/** Asserts a refusal with one of the statuses and, where codes are given, one of the error codes. */
export function assertRefused(answer: Answer, statuses: number | number[], codes?: string | string[]): void {
  assert.ok(
    [statuses].flat().includes(answer.status),
    `expected ${[statuses].flat().join(' or ')}: ${describe(answer)}`,
  )
  if (codes === undefined || answer.method === 'HEAD') return
  const found = errorCodes(answer)
  assert.ok(
    found.some((code) => [codes].flat().includes(code)),
    `expected ${[codes].flat().join(' or ')}: ${describe(answer)}`,
  )
}

/** Ends a request with its body. */
function send(outgoing: ClientRequest, body: RequestOptions['body']): void {
  if (typeof body === 'string' || body === undefined || Buffer.isBuffer(body)) return void outgoing.end(body)
  outgoing.setHeader('Content-Length', sum(body))
  Readable.from(body).pipe(outgoing)
}

const sum = (pieces: readonly Buffer[]) => pieces.reduce((bytes, piece) => bytes + piece.length, 0)

/** The codes of an error body; asserts the format of spec "Error Codes". */
export function errorCodes(answer: Answer): string[] {
  const body = record(answer.json())
  assert.ok(Array.isArray(body['errors']) && body['errors'].length > 0, `no errors: ${describe(answer)}`)
  return body['errors'].map((entry: unknown) => {
    const { code, message } = record(entry)
    assert.ok(typeof code === 'string' && ERROR_CODES.has(code), `code ${String(code)}: ${describe(answer)}`)
    assert.ok(message === undefined || typeof message === 'string', `message: ${describe(answer)}`)
    return code
  })
}

/** An answer in one line, for messages. */
export function describe(answer: Answer): string {
  return `${answer.method} ${answer.url} gave ${answer.status} ${answer.body.toString('utf8', 0, 500)}`
}

/** Asserts that a value is a JSON object. */
export function record(value: unknown): Record<string, unknown> {
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), `not an object: ${String(value)}`)
  return { ...value }
}

/** Asserts that a value is a list of strings. */
export function strings(value: unknown): string[] {
  assert.ok(Array.isArray(value), `not a list: ${JSON.stringify(value)}`)
  return value.map((entry: unknown) => {
    assert.ok(typeof entry === 'string', `not a string: ${JSON.stringify(entry)}`)
    return entry
  })
}

/** Makes an answer out of its parts, and asserts what must hold for every answer (error format, codes, warnings, no 5xx). */
export function checked(
  method: string,
  url: string,
  incoming: { statusCode?: number; headers: IncomingHttpHeaders },
  body: Buffer,
): Answer {
  const answer: Answer = {
    method,
    url,
    status: incoming.statusCode ?? 0,
    headers: incoming.headers,
    body,
    header: (name) => {
      const value = incoming.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    json: (): unknown => JSON.parse(body.toString('utf8')),
  }
  assert.ok(answer.status < 500, `a server error: ${describe(answer)}`)
  if (answer.status >= 400 && answer.header('content-type')?.includes('json') && method !== 'HEAD') errorCodes(answer)
  if (answer.status === 429) assert.ok(answer.header('retry-after'), '429 without Retry-After')
  if (method === 'HEAD' || answer.status === 204 || answer.status === 304)
    assert.equal(body.length, 0, describe(answer))
  if (answer.status === 204) assert.equal(answer.header('content-length'), undefined, 'RFC 9110, section 8.6')
  assertWarnings(answer)
  return answer
}

/** Spec "Warnings": code 299, agent `-`, no date, at most 4096 bytes from all headers combined. */
function assertWarnings(answer: Answer): void {
  const value = answer.header('warning')
  if (value === undefined) return
  assert.match(value, /^299 - "(?:[^"\\]|\\.)*"(?:, 299 - "(?:[^"\\]|\\.)*")*$/)
  assert.ok(Buffer.byteLength(value) <= 4096, `${Buffer.byteLength(value)} bytes of warnings`)
}
