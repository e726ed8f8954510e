import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import type { Logger } from '#platform/log'

const CHANNEL = 'entrepot_changes'
/** What others committed is known after so long at most. */
const MAX_AGE_MS = 1_000
const BEAT_MS = 400
const RECONNECT_MS = 1_000
/** A connection on which no beat came back for so long is given up. */
const MAX_SILENCE_MS = 5_000

/**
 * Hears of what other processes commit. Each commit notifies; so do beats of this process, which come back to it in the
 * same order: a beat that was heard says that everything committed before it was sent has been heard, too. Where none
 * comes back, because the connection is lost or a pooler gives it to others, nothing counts as known.
 */
export class PostgresChanges {
  readonly #id = randomUUID()
  readonly #connect: () => Promise<Client>
  readonly #send: (sql: string) => Promise<void>
  readonly #log: Logger
  readonly #ending = new AbortController()
  readonly #sentAt = new Map<string, number>()
  readonly #done: Promise<unknown>
  #giveUp: () => void = () => {}
  #heardAt = 0
  #beats = 0
  #knownUntil = -Infinity
  #version = 0
  #committing = 0

  /**
   * @param dependencies.connect opens a connection to listen on.
   * @param dependencies.send runs a statement on another connection.
   */
  constructor(dependencies: { connect: () => Promise<Client>; send: (sql: string) => Promise<void>; log: Logger }) {
    this.#connect = dependencies.connect
    this.#send = dependencies.send
    this.#log = dependencies.log
    this.#done = Promise.all([this.#listen(), this.#beat()])
  }

  /** Another number after each commit, of whichever process; another one each time while nothing is known of others. */
  get version(): number {
    if (this.#committing > 0 || performance.now() >= this.#knownUntil) this.#version++
    return this.#version
  }

  /**
   * Runs a commit, which has to send the notification. From when the server may have carried it out until its answer is
   * here, and where that is lost, nothing that was read before counts.
   */
  async whileCommitting(commit: (notification: string) => Promise<void>): Promise<void> {
    this.#committing++
    try {
      await commit(`notify ${CHANNEL}, '${this.#id}'`)
    } finally {
      this.#committing--
      this.#version++
    }
  }

  async end(): Promise<void> {
    this.#ending.abort()
    this.#forget()
    this.#giveUp()
    await this.#done
  }

  #forget(): void {
    this.#knownUntil = -Infinity
    this.#sentAt.clear()
  }

  #hear(payload: string): void {
    const [id, beat] = payload.split(' ')
    if (beat === undefined) {
      // A commit of this process counts from before it is sent.
      if (id !== this.#id) this.#version++
      return
    }
    const sentAt = id === this.#id ? this.#sentAt.get(beat) : undefined
    if (sentAt === undefined) return
    this.#sentAt.delete(beat)
    this.#heardAt = performance.now()
    // What came while nothing was known may have passed unheard.
    if (performance.now() >= this.#knownUntil) this.#version++
    this.#knownUntil = Math.max(this.#knownUntil, sentAt + MAX_AGE_MS)
  }

  async #listen(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      let client: Client | undefined
      try {
        client = await this.#connect()
        const lost = Promise.withResolvers<void>()
        this.#giveUp = lost.resolve
        client.on('error', () => lost.resolve())
        client.on('end', () => lost.resolve())
        client.on('notification', ({ payload }) => this.#hear(payload ?? ''))
        this.#heardAt = performance.now()
        // The end may have come while it connected.
        if (!signal.aborted) {
          await client.query(`listen ${CHANNEL}`)
          await lost.promise
        }
      } catch (error) {
        this.#log.debug({ err: error }, 'changes by others cannot be heard of; reads are not remembered')
      } finally {
        // A server that says nothing does not say goodbye, either.
        void client?.end().catch(() => {})
      }
      this.#forget()
      await sleep(RECONNECT_MS, undefined, { signal }).catch(() => {})
    }
  }

  async #beat(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      const beat = String(this.#beats++)
      this.#sentAt.set(beat, performance.now())
      await this.#send(`notify ${CHANNEL}, '${this.#id} ${beat}'`).catch(() => this.#forget())
      if (performance.now() - this.#heardAt > MAX_SILENCE_MS) this.#giveUp()
      // Those that never came back are not waited for.
      for (const [old, sentAt] of this.#sentAt) if (sentAt < performance.now() - MAX_AGE_MS) this.#sentAt.delete(old)
      await sleep(BEAT_MS, undefined, { signal }).catch(() => {})
    }
  }
}
