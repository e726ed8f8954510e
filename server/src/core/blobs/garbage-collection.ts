import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection, Database } from '#platform/database'
import { deleteMembership } from './blob-rows.ts'
import {
  deleteStored,
  deleteUnneeded,
  findUnneeded,
  findWithoutMembership,
  insertUnneeded,
  listMemberships,
  listStored,
  listUnneeded,
  type Membership,
} from './garbage-rows.ts'
import type { BlobStore } from './store.ts'
import type { Turns } from './turns.ts'

/** Rows looked at, and things removed, in one step; between steps others get their turn. */
const LOOK_SIZE = 500
const REMOVE_SIZE = 200
const PAUSE_MS = 5

/** What formats need of blobs: the collector knows none of them. */
export interface BlobReferences {
  /** Those of the digests that something in the repository needs. */
  findNeeded(connection: Connection, repositoryId: RepositoryId, digests: readonly Digest[]): Promise<Set<Digest>>
  /** Those of the digests that are themselves something that a repository has, such as manifests. */
  findOwned(connection: Connection, digests: readonly Digest[]): Promise<Set<Digest>>
}

/** What one run has done. */
export interface GarbageReport {
  /** Blobs taken from a repository that did not need them. */
  unlinkedBlobs: number
  /** Contents that no repository had any more, with their bytes. */
  removedContents: number
  removedBytes: number
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
  readonly #contentTurns: Turns
  readonly #references: BlobReferences
  readonly #beforeRun: (isEnding: () => boolean) => Promise<void>
  readonly #ageMs: number
  #isEnding = false

  /**
   * @param dependencies.beforeRun lets formats give up what they keep only for a time, so that the run finds what that
   * needed; it asks before each of its steps whether to stop early.
   * @param ageMs how long a blob that nothing needs stays.
   */
  constructor(
    dependencies: {
      database: Database
      store: BlobStore
      contentTurns: Turns
      references: BlobReferences
      beforeRun: (isEnding: () => boolean) => Promise<void>
    },
    ageMs: number,
  ) {
    this.#database = dependencies.database
    this.#store = dependencies.store
    this.#contentTurns = dependencies.contentTurns
    this.#references = dependencies.references
    this.#beforeRun = dependencies.beforeRun
    this.#ageMs = ageMs
  }

  /** Lets a run under way end after its step. */
  end(): void {
    this.#isEnding = true
  }

  /** Looks at everything once. */
  async run(): Promise<GarbageReport> {
    const report: GarbageReport = { unlinkedBlobs: 0, removedContents: 0, removedBytes: 0 }
    const before = Date.now() - this.#ageMs
    await this.#beforeRun(() => this.#isEnding)
    await this.#noteUnneeded()
    await this.#unlinkUnneeded(before, report)
    await this.#removeUnownedContents(report)
    return report
  }

  /** Notes which blobs of which repositories nothing needs, from now on. */
  async #noteUnneeded(): Promise<void> {
    let after: Membership | undefined
    while (!this.#isEnding) {
      const page = await listMemberships(this.#database.read, after, LOOK_SIZE)
      const unneeded = await this.#without(page, async (repositoryId, digests) => {
        const needed = await this.#references.findNeeded(this.#database.read, repositoryId, digests)
        return needed.union(await findUnneeded(this.#database.read, repositoryId, digests))
      })
      if (unneeded.length > 0) {
        await this.#database.transaction(async (transaction) => insertUnneeded(transaction, unneeded, Date.now()))
      }
      after = page.at(-1)
      if (page.length < LOOK_SIZE) return
      await sleep(PAUSE_MS)
    }
  }

  /** Takes blobs from repositories that have not needed them for long, and still do not. */
  async #unlinkUnneeded(before: number, report: GarbageReport): Promise<void> {
    while (!this.#isEnding) {
      const page = await listUnneeded(this.#database.read, before, REMOVE_SIZE)
      if (page.length === 0) return
      report.unlinkedBlobs += await this.#database.transaction(async (transaction) => {
        const unneeded = new Set(
          await this.#without(page, async (repositoryId, digests) =>
            this.#references.findNeeded(transaction, repositoryId, digests),
          ),
        )
        let unlinked = 0
        for (const membership of page) {
          // Whoever asked for the blob meanwhile, and was told that it is there, has taken the note away.
          const isNoted = await deleteUnneeded(transaction, membership)
          if (!isNoted || !unneeded.has(membership)) continue
          if (await deleteMembership(transaction, membership.repositoryId, membership.digest)) unlinked++
        }
        return unlinked
      })
      await sleep(PAUSE_MS)
    }
  }

  /** Removes content that no repository has, neither as a blob nor as anything else. */
  async #removeUnownedContents(report: GarbageReport): Promise<void> {
    let after: Digest | undefined
    while (!this.#isEnding) {
      const page = await listStored(this.#database.read, after, LOOK_SIZE)
      const unowned = await this.#withoutOwner(this.#database.read, page)
      for (let start = 0; start < unowned.length; start += REMOVE_SIZE) {
        await this.#removeContents(unowned.slice(start, start + REMOVE_SIZE), report)
        await sleep(PAUSE_MS)
      }
      after = page.at(-1)
      if (page.length < LOOK_SIZE) return
      await sleep(PAUSE_MS)
    }
  }

  async #removeContents(digests: readonly Digest[], report: GarbageReport): Promise<void> {
    // What is being stored just now is not garbage.
    const free = digests.filter((digest) => !this.#contentTurns.isTaken(digest))
    await this.#contentTurns.takeAll(free, async () => {
      const removed = await this.#database.transaction(async (transaction) => {
        const unowned = await this.#withoutOwner(transaction, free)
        report.removedBytes += await deleteStored(transaction, unowned)
        return unowned
      })
      for (const digest of removed) await this.#store.remove(digest)
      report.removedContents += removed.length
    })
  }

  /** The memberships that the question, asked for each repository, does not give back. */
  async #without(
    memberships: readonly Membership[],
    ask: (repositoryId: RepositoryId, digests: readonly Digest[]) => Promise<Set<Digest>>,
  ): Promise<Membership[]> {
    const left: Membership[] = []
    for (const [repositoryId, ofRepository] of Map.groupBy(memberships, (membership) => membership.repositoryId)) {
      const found = await ask(
        repositoryId,
        ofRepository.map((membership) => membership.digest),
      )
      left.push(...ofRepository.filter((membership) => !found.has(membership.digest)))
    }
    return left
  }

  async #withoutOwner(connection: Connection, digests: readonly Digest[]): Promise<Digest[]> {
    const withoutMembership = await findWithoutMembership(connection, digests)
    const owned = await this.#references.findOwned(connection, withoutMembership)
    return withoutMembership.filter((digest) => !owned.has(digest))
  }
}
