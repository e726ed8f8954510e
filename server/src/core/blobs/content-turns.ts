import type { Digest } from '@entrepot/oci'
import {
  besideOthers,
  type Connection,
  type Database,
  isPostgres,
  lockFreeKeys,
  lockKey,
  type Transaction,
} from '#platform/database'
import { findStoredDigests } from './blob-rows.ts'
import { Turns } from './turns.ts'

/**
 * Lets what is done to the same content go one after the other: from when it is put under its digest until a row says so
 * nobody removes it, and who removes it knows that no row does. Within the process that is a turn; where several work on
 * one database it is also a lock in the transaction that makes the row.
 */
export class ContentTurns {
  readonly #database: Database
  readonly #turns: Turns

  /** @param timeoutMs how long one waits for others in this process. */
  constructor(database: Database, timeoutMs: number) {
    this.#database = database
    this.#turns = new Turns(timeoutMs, 'storing the same content')
  }

  /**
   * Puts content under its digest, then makes it known.
   * @param place puts it there, or sees that it is; it may be asked again, and others may have come in between.
   * @param record writes the rows; it may be asked again, too.
   * @throws RegistryError TOOMANYREQUESTS when others take too long, and what the two throw.
   */
  async publish<Result>(
    digest: Digest,
    place: (connection: Connection) => Promise<void>,
    record: (transaction: Transaction) => Promise<Result>,
  ): Promise<Result> {
    return this.#turns.take(digest, async () => this.#publish([digest], place, record))
  }

  /** Does the same for many digests at once, of which nobody in this process may be storing one. */
  async publishFree<Result>(
    digests: readonly Digest[],
    place: (connection: Connection) => Promise<void>,
    record: (transaction: Transaction) => Promise<Result>,
  ): Promise<Result> {
    return this.#turns.takeAll(digests, async () => this.#publish(digests, place, record))
  }

  /** Whether somebody in this process stores content, or waits for that. */
  isTaken(digest: Digest): boolean {
    return this.#turns.isTaken(digest)
  }

  /** Runs work while nobody puts the same content under its digest, or removes it. */
  async alone<Result>(digest: Digest, work: (connection: Connection) => Promise<Result>): Promise<Result> {
    return this.#turns.take(digest, async () =>
      besideOthers(this.#database.read, async (connection) => {
        await lockKey(connection, digest)
        return work(connection)
      }),
    )
  }

  /** Runs work on those of the digests that nobody in this process is storing, while nobody begins to. */
  async takeFree<Result>(
    digests: readonly Digest[],
    work: (free: readonly Digest[]) => Promise<Result>,
  ): Promise<Result> {
    const free = digests.filter((digest) => !this.#turns.isTaken(digest))
    return this.#turns.takeAll(free, async () => work(free))
  }

  async #publish<Result>(
    digests: readonly Digest[],
    place: (connection: Connection) => Promise<void>,
    record: (transaction: Transaction) => Promise<Result>,
  ): Promise<Result> {
    const { read } = this.#database
    if (!isPostgres(read)) {
      // All who write wait for a transaction, which should not wait for the disk.
      await place(read)
      return this.#database.transaction(record)
    }
    return this.#database.transaction(async (transaction) => {
      // In one order, so that nobody waits for who waits for them.
      for (const digest of digests.toSorted()) await lockKey(transaction, digest)
      await place(transaction)
      return record(transaction)
    })
  }

  /**
   * Removes what is under digests of which no row tells any more. What another process is storing just now stays: its row
   * is on its way.
   * @param remove takes those of them that may go.
   */
  async removeUnknown(
    digests: readonly Digest[],
    remove: (unknown: readonly Digest[]) => Promise<void>,
  ): Promise<void> {
    await besideOthers(this.#database.read, async (connection) => {
      const free = await lockFreeKeys(connection, digests)
      const known = await findStoredDigests(connection, free)
      await remove(free.filter((digest) => !known.has(digest)))
    })
  }
}
