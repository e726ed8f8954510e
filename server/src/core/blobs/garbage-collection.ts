import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '@entrepot/oci'
import { steadyNow } from '#platform/clock'
import { type Database, lockFreeKeys } from '#platform/database'
import type { ContentTurns } from './content-turns.ts'
import { type BlobReferences, findUnowned, membershipsWithout } from './garbage-decisions.ts'
import { isHeld } from './garbage-hold-rows.ts'
import {
  deleteMemberships,
  deleteNotes,
  deleteStored,
  findUnneeded,
  insertUnneeded,
  listMemberships,
  listStored,
  listUnneeded,
  type Membership,
} from './garbage-rows.ts'
import type { BlobStore } from './store.ts'

/** Rows looked at, and things removed at most, in one step; between steps others get their turn. */
const LOOK_SIZE = 500
const REMOVE_SIZE = 200
const PAUSE_MS = 5
/** A rate is held by steps this long, so that the removals are spread evenly. */
const STEP_MS = 100

/** What one run has done. */
export interface GarbageReport {
  /** Blobs taken from a repository that did not need them. */
  unlinkedBlobs: number
  /** Contents that no repository had any more, with their bytes. */
  removedContents: number
  removedBytes: number
}

export interface GarbageOptions {
  /** How long a blob that nothing needs stays. */
  readonly ageMs: number
  /** How many blobs and contents are removed in a second at most; 0 sets no limit. */
  readonly removalsPerSecond: number
}

/**
 * Removes what nothing needs, while pushes and pulls go on. Each removal is decided in the transaction, or in the turn of
 * the digest, in which nothing can begin to need it; time only spaces the work. A run that is cut off is taken up by the
 * next one: everything that it knows is in rows. A file of which no row tells stays: whether a crash left it or its row
 * was lost, with the database or by an older backup of it, nobody can say.
 */
export class GarbageCollector {
  readonly #database: Database
  readonly #store: BlobStore
  readonly #contentTurns: ContentTurns
  readonly #references: BlobReferences
  readonly #options: GarbageOptions
  readonly #beforeRun: (isEnding: () => boolean) => Promise<void>
  readonly #removeSize: number
  #isEnding = false

  /**
   * @param dependencies.beforeRun lets formats give up what they keep only for a time, so that the run finds what that
   * needed; it asks before each of its steps whether to stop early.
   */
  constructor(
    dependencies: {
      database: Database
      store: BlobStore
      contentTurns: ContentTurns
      references: BlobReferences
      beforeRun: (isEnding: () => boolean) => Promise<void>
    },
    options: GarbageOptions,
  ) {
    this.#database = dependencies.database
    this.#store = dependencies.store
    this.#contentTurns = dependencies.contentTurns
    this.#references = dependencies.references
    this.#beforeRun = dependencies.beforeRun
    this.#options = options
    const perStep = Math.max(1, Math.floor((options.removalsPerSecond * STEP_MS) / 1_000))
    this.#removeSize = options.removalsPerSecond === 0 ? REMOVE_SIZE : Math.min(REMOVE_SIZE, perStep)
  }

  get isEnding(): boolean {
    return this.#isEnding
  }

  /** Lets a run under way end after its step. */
  end(): void {
    this.#isEnding = true
  }

  /**
   * Looks at everything once.
   * @param report is added to as the work goes on, so that what was done is known even when it fails.
   * @returns whether it got to the end, which it does not when it is ended.
   */
  async run(report: GarbageReport): Promise<boolean> {
    await this.#beforeRun(() => this.#isEnding)
    await this.#noteUnneeded()
    await this.#unlinkUnneeded(steadyNow() - this.#options.ageMs, report)
    await this.#removeUnownedContents(report)
    return !this.#isEnding
  }

  /** Notes which blobs of which repositories nothing needs, from now on. */
  async #noteUnneeded(): Promise<void> {
    let after: Membership | undefined
    while (!this.#isEnding) {
      const page = await listMemberships(this.#database.read, after, LOOK_SIZE)
      const unneeded = await membershipsWithout(page, async (repositoryId, digests) => {
        const needed = await this.#references.findNeeded(this.#database.read, repositoryId, digests)
        return needed.union(await findUnneeded(this.#database.read, repositoryId, digests))
      })
      if (unneeded.length > 0) {
        await this.#database.transaction(async (transaction) => insertUnneeded(transaction, unneeded, steadyNow()))
      }
      after = page.at(-1)
      if (page.length < LOOK_SIZE) return
      await sleep(PAUSE_MS)
    }
  }

  /** Takes blobs from repositories that have not needed them for long, and still do not. */
  async #unlinkUnneeded(until: number, report: GarbageReport): Promise<void> {
    while (!this.#isEnding) {
      const start = performance.now()
      const page = await listUnneeded(this.#database.read, until, this.#removeSize)
      if (page.length === 0) return
      report.unlinkedBlobs += await this.#database.transaction(async (transaction) => {
        let unlinked = 0
        for (const [repositoryId, ofRepository] of Map.groupBy(page, (membership) => membership.repositoryId)) {
          const digests = ofRepository.map((membership) => membership.digest)
          // Whoever asked for a blob meanwhile, and was told that it is there, has taken the note away.
          const noted = await deleteNotes(transaction, repositoryId, digests)
          const needed = await this.#references.findNeeded(transaction, repositoryId, noted)
          const unneeded = noted.filter((digest) => !needed.has(digest))
          unlinked += await deleteMemberships(transaction, repositoryId, unneeded)
        }
        return unlinked
      })
      await this.#rest(page.length, performance.now() - start)
    }
  }

  /** Removes content that no repository has, neither as a blob nor as anything else. */
  async #removeUnownedContents(report: GarbageReport): Promise<void> {
    let after: Digest | undefined
    while (!this.#isEnding) {
      const page = await listStored(this.#database.read, after, LOOK_SIZE)
      const unowned = await findUnowned(this.#database.read, this.#references, page)
      for (let first = 0; first < unowned.length && !this.#isEnding; first += this.#removeSize) {
        const start = performance.now()
        const digests = unowned.slice(first, first + this.#removeSize)
        if (!(await this.#removeContents(digests, report))) return
        await this.#rest(digests.length, performance.now() - start)
      }
      after = page.at(-1)
      if (page.length < LOOK_SIZE) return
      await sleep(PAUSE_MS)
    }
  }

  /** @returns false, and removes nothing, while somebody holds what is stored. */
  async #removeContents(digests: readonly Digest[], report: GarbageReport): Promise<boolean> {
    // What is being stored just now is not garbage.
    return this.#contentTurns.takeFree(digests, async (free) => {
      const remove = await this.#store.prepareRemoval(free)
      const removed = await this.#database.transaction(async (transaction) => {
        if (await isHeld(transaction)) return undefined
        const unlocked = await lockFreeKeys(transaction, free)
        return deleteStored(transaction, await findUnowned(transaction, this.#references, unlocked))
      })
      if (removed === undefined) return false
      // Others may have stored some of it anew since.
      await this.#contentTurns.removeUnknown(
        removed.map(({ digest }) => digest),
        remove,
      )
      report.removedContents += removed.length
      report.removedBytes += removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
      return true
    })
  }

  /** Others get their turn, for as long as the rate asks for after so many removals. */
  async #rest(removals: number, tookMs: number): Promise<void> {
    const { removalsPerSecond } = this.#options
    const stepMs = removalsPerSecond === 0 ? 0 : (removals / removalsPerSecond) * 1_000
    await sleep(Math.max(PAUSE_MS, stepMs - tookMs))
  }
}
