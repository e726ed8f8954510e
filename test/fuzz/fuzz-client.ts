import assert from 'node:assert/strict'
import type { OutgoingHttpHeaders } from 'node:http'
import type { Answer, RegistryClient } from '../registry-client.ts'
import { type Expected, judge } from './oracle.ts'
import { type RawExchange, exchange, readAnswers } from './raw-exchange.ts'

const ANSWER_LIMIT_MS = 1_000
const TICK_MS = 10
/** A longer pause between two ticks is this process's own, or its machine's, and not the server's. */
const LONGEST_TICK_MS = 50
const SHOWN_BYTES = 4_000

export interface FuzzRequest {
  readonly method: string
  readonly target: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: Buffer
  readonly streamed?: boolean
}

/** A promise that was not kept, with the request that shows it. */
export class FuzzFailure extends Error {
  constructor(request: string, cause: unknown) {
    super(`${cause instanceof Error ? cause.message : String(cause)}\nrequest: ${request}`, { cause })
  }
}

/** Sends generated requests, counts them, and judges each answer. */
export class FuzzClient {
  readonly registry: RegistryClient
  readonly #certificate: Buffer | undefined
  #requests = 0
  #rawRequests = 0
  #slowestMs = 0
  readonly #statuses = new Map<number, number>()
  #clockMs = 0
  readonly #ticking: NodeJS.Timeout

  /**
   * @param registry sends what an HTTP library can send
   * @param certificate of a server that speaks TLS, in PEM form
   */
  constructor(registry: RegistryClient, certificate?: Buffer) {
    this.registry = registry
    this.#certificate = certificate
    let last = performance.now()
    this.#ticking = setInterval(() => {
      const now = performance.now()
      this.#clockMs += Math.min(now - last, LONGEST_TICK_MS)
      last = now
    }, TICK_MS)
  }

  get requests(): number {
    return this.#requests
  }

  get rawRequests(): number {
    return this.#rawRequests
  }

  get slowestMs(): number {
    return this.#slowestMs
  }

  /** How often each status was answered. */
  get statuses(): string {
    const counts = [...this.#statuses].toSorted(([a], [b]) => a - b)
    return counts.map(([status, count]) => `${status}: ${count}`).join(', ')
  }

  /** Sends a request that an HTTP library can send. @throws FuzzFailure */
  async send(request: FuzzRequest, expected?: Expected): Promise<Answer> {
    this.#requests++
    const begin = this.#clockMs
    try {
      const { method, target, headers, body, streamed = false } = request
      // Node.js frames no body by itself for methods that rarely have one.
      const length = body !== undefined && !streamed ? { 'Content-Length': body.length } : {}
      const answer = await this.registry.request(method, target, {
        headers: { ...headers, ...length },
        ...(body && { body }),
        streamed,
      })
      this.#assertSoon(begin)
      this.#judge(answer, expected)
      return answer
    } catch (error) {
      throw new FuzzFailure(showRequest(request), error)
    }
  }

  /** Sends bytes over a connection of their own; `expected` is for each answer, in order. @throws FuzzFailure */
  async sendRaw(raw: RawExchange, expected: readonly Expected[] = []): Promise<Answer[]> {
    this.#requests += raw.methods.length
    this.#rawRequests += raw.methods.length
    const begin = this.#clockMs
    try {
      const { origin } = this.registry
      const clock = { limitMs: ANSWER_LIMIT_MS, now: () => this.#clockMs }
      const bytes = await exchange({ origin, certificate: this.#certificate }, raw, clock)
      this.#assertSoon(begin)
      if (raw.ending === 'reset') return []
      const answers = readAnswers(origin, bytes, raw.methods)
      assert.ok(!raw.isAnswered || answers.length > 0, 'the connection was closed without an answer')
      for (const [index, answer] of answers.entries()) this.#judge(answer, expected[index])
      return answers
    } catch (error) {
      throw new FuzzFailure(escape(Buffer.concat(raw.pieces)), error)
    }
  }

  close(): void {
    clearInterval(this.#ticking)
  }

  #judge(answer: Answer, expected?: Expected): void {
    this.#statuses.set(answer.status, (this.#statuses.get(answer.status) ?? 0) + 1)
    judge(answer, expected)
  }

  #assertSoon(begin: number): void {
    const tookMs = this.#clockMs - begin
    this.#slowestMs = Math.max(this.#slowestMs, tookMs)
    assert.ok(tookMs <= ANSWER_LIMIT_MS, `the answer took ${Math.round(tookMs)} ms`)
  }
}

function showRequest(request: FuzzRequest): string {
  const headers = JSON.stringify(request.headers ?? {})
  const body = request.body === undefined ? 'no body' : `${request.body.length} bytes: ${escape(request.body)}`
  return `${request.method} ${escape(Buffer.from(request.target, 'latin1'))} ${headers} ${body}`
}

function escape(bytes: Buffer): string {
  const more = bytes.length > SHOWN_BYTES ? ` and ${bytes.length - SHOWN_BYTES} more bytes` : ''
  return JSON.stringify(bytes.toString('latin1', 0, SHOWN_BYTES)) + more
}
