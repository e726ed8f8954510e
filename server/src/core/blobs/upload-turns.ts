import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'
import type { Instance } from '#core/instances'
import type { Connection, Database } from '#platform/database'
import type { Logger } from '#platform/log'
import type { BlobStore } from './store.ts'
import { Turns } from './turns.ts'
import { claimUpload, findClaim, releaseUpload, type UploadClaim } from './upload-rows.ts'

/** How long a request waits for another one that writes to the same upload, such as one whose client has vanished. */
const TURN_TIMEOUT_MS = 10_000
const LOOK_AGAIN_MS = 100
const RELEASE_AGAIN_MS = 1_000
const MAX_REMEMBERED = 20_000
const WORK = 'writing to this upload'

/** The time in which one request alone writes to an upload. */
export interface UploadTurn {
  /** Whether nobody has written since this process did: what it remembers is then right. */
  readonly isContinued: boolean
  /** Whether who wrote last was cut off in the middle of it; undefined where only one process writes, which cannot tell. */
  readonly isAfterCut: boolean | undefined
  /** Sees, in the transaction that depends on it, that no other process took this one for gone. @throws RegistryError */
  confirm(connection: Connection): Promise<void>
  /** Says that there is no upload any more. */
  over(): void
}

const ALONE = { isContinued: true, isAfterCut: undefined, confirm: async () => {}, over: () => {} }

/**
 * Lets requests for the same upload go one after the other: within the process, and among all that work on one database
 * by a claim in the upload's row. The claim of a process that is gone passes to whoever comes next. If that one was only
 * silent, it has lost the file that it writes to, and is refused when it wants to say that anything was stored.
 */
export class UploadTurns {
  readonly #turns = new Turns(TURN_TIMEOUT_MS, WORK)
  readonly #database: Database
  readonly #instance: Instance
  readonly #store: BlobStore
  readonly #log: Logger
  /** By upload, the number of the claim that this process had last. */
  readonly #lastClaims = new LRUCache<string, number>({ max: MAX_REMEMBERED })

  constructor(dependencies: { database: Database; instance: Instance; store: BlobStore; log: Logger }) {
    this.#database = dependencies.database
    this.#instance = dependencies.instance
    this.#store = dependencies.store
    this.#log = dependencies.log
  }

  /** Runs the work when nobody writes to the upload. @throws RegistryError TOOMANYREQUESTS when that takes too long. */
  async take<Result>(id: string, work: (turn: UploadTurn) => Promise<Result>): Promise<Result> {
    return this.#turns.take(id, async () => {
      const deadline = performance.now() + TURN_TIMEOUT_MS
      for (;;) {
        const claim = await this.#claim(id)
        if (claim !== 'taken') return this.#use(id, claim, work)
        if (performance.now() > deadline) {
          const message = `another request is still ${WORK}; try again`
          throw new RegistryError('TOOMANYREQUESTS', message, { retryAfterSeconds: 1 })
        }
        await sleep(LOOK_AGAIN_MS)
      }
    })
  }

  /**
   * Runs the work unless somebody writes to the upload, has done so since it was looked at, or keeps bytes under its id.
   * @param claims how often it had been claimed at that look; undefined when there was no such upload.
   * @returns whether it did.
   */
  async takeFree(id: string, claims: number | undefined, work: (turn: UploadTurn) => Promise<void>): Promise<boolean> {
    const owner = id.split('.')[1]
    if (owner !== undefined && owner !== this.#instance.id && (await this.#instance.alive()).has(owner)) return false
    // Between the look at an upload without an owner and its turn no other request of this process can come.
    if (this.isTaken(id)) return false
    return this.#turns.take(id, async () => {
      const claim = await this.#claim(id)
      if (claim === 'taken') return false
      const isFree = claim === undefined || claim.number === (claims ?? 0) + 1
      await this.#use(id, claim, async (turn) => {
        if (isFree) await work(turn)
      })
      return isFree
    })
  }

  /** Runs work that keeps bytes under an id of its own, without a row: they are not abandoned while it goes on. */
  async takeNew<Result>(work: (id: string) => Promise<Result>): Promise<Result> {
    const { id: instance } = this.#instance
    const id = instance === undefined ? randomUUID() : `${randomUUID()}.${instance}`
    return this.#turns.take(id, async () => work(id))
  }

  /** Whether a request of this process writes to the upload, or waits for that. */
  isTaken(id: string): boolean {
    return this.#turns.isTaken(id)
  }

  /** Undefined where there is no such upload. */
  async #claim(id: string): Promise<UploadClaim | 'taken' | undefined> {
    const { id: writer } = this.#instance
    if (writer === undefined) return undefined
    // Read beside the transaction, which would otherwise meet all the others' signs of life.
    const alive = await this.#instance.alive()
    return this.#database.transaction(async (transaction) => claimUpload(transaction, { id, writer, alive }))
  }

  async #use<Result>(
    id: string,
    claim: UploadClaim | undefined,
    work: (turn: UploadTurn) => Promise<Result>,
  ): Promise<Result> {
    if (claim === undefined) return work(ALONE)
    const isContinued = claim.number === (this.#lastClaims.get(id) ?? 0) + 1
    this.#lastClaims.set(id, claim.number)
    let isOver = false
    try {
      if (claim.isTakenOver) await this.#store.detachUpload(id)
      const result = await work({
        isContinued,
        isAfterCut: claim.isTakenOver,
        confirm: async (connection) => this.#confirm(connection, id, claim),
        over: () => {
          isOver = true
          this.#lastClaims.delete(id)
        },
      })
      // What a client is told of the upload must be true for those that go on with it.
      if (!isOver && !(await this.#release(id, claim))) throw takenOver()
      isOver = true
      return result
    } finally {
      if (!isOver) void this.#releaseUntilDone(id, claim)
    }
  }

  async #confirm(connection: Connection, id: string, claim: UploadClaim): Promise<void> {
    if ((await findClaim(connection, id)) !== claim.number) throw takenOver()
  }

  /** @returns whether it was still held. */
  async #release(id: string, claim: UploadClaim): Promise<boolean> {
    return this.#database.transaction(async (transaction) => releaseUpload(transaction, id, claim.number))
  }

  /** While it is claimed by a process that is alive, no other one may go on with the upload. */
  async #releaseUntilDone(id: string, claim: UploadClaim): Promise<void> {
    for (;;) {
      try {
        await this.#release(id, claim)
        return
      } catch (error) {
        this.#log.debug({ err: error, upload: id }, 'an upload is still claimed, for the database does not answer')
      }
      await sleep(RELEASE_AGAIN_MS, undefined, { ref: false })
    }
  }
}

function takenOver(): RegistryError {
  return new RegistryError(
    'TOOMANYREQUESTS',
    'another instance goes on with this upload, for this one was silent too long: ask where the upload stands',
    { retryAfterSeconds: 1 },
  )
}
