import type { FileHandle } from 'node:fs/promises'
import type { Hashing } from './store.ts'
import { writeChunks } from './write-chunks.ts'

const KIB = 1024
const MIB = 1024 * KIB

/**
 * Chunks from the network are small; one write for many costs less. But what is written should still be in the
 * processor's cache from being hashed: a few megabytes later it costs twice as much.
 */
const GATHERED_BYTES = 256 * KIB
/** Bytes of one upload, and of all together, that are on their way to the file system. */
const MAX_WRITING_BYTES = 512 * KIB
const MAX_WRITING_BYTES_OF_ALL = 32 * MIB
/** When all together have gathered more than this, each writes what it has as soon as that is worth a write. */
const MAX_GATHERED_BYTES_OF_ALL = 32 * MIB
const MIN_GATHERED_BYTES = 16 * KIB
/** So much is brought to the disk while more is received, so that there is little to wait for at the end. */
const SYNCED_BYTES = 16 * MIB

/** What all writers of a store have in common: it bounds the memory that uploads take, however many there are. */
export class WriteBudget {
  #writingBytes = 0
  #gatheredBytes = 0
  readonly #waiting: (() => void)[] = []
  /** Refuses, by throwing, while nothing may be written. */
  readonly requireRoom: () => void

  constructor(requireRoom: () => void) {
    this.requireRoom = requireRoom
  }

  /** Notes that so many bytes more, or fewer, wait to be written; tells how many one upload may let wait. */
  gather(bytes: number): number {
    this.#gatheredBytes += bytes
    return this.#gatheredBytes > MAX_GATHERED_BYTES_OF_ALL ? MIN_GATHERED_BYTES : GATHERED_BYTES
  }

  /** Waits until so many bytes more may be on their way. */
  async take(bytes: number): Promise<void> {
    while (this.#writingBytes > 0 && this.#writingBytes + bytes > MAX_WRITING_BYTES_OF_ALL) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#writingBytes += bytes
  }

  giveBack(bytes: number): void {
    this.#writingBytes -= bytes
    for (const proceed of this.#waiting.splice(0)) proceed()
  }
}

/** Writes what arrives in small chunks to a file: gathered, several writes at once, and early to the disk. */
export class GatheredWriter {
  readonly #file: FileHandle
  readonly #hash: Hashing | undefined
  readonly #budget: WriteBudget
  readonly #writes = new Set<Promise<void>>()
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  #writingBytes = 0
  #position: number
  #unsyncedBytes = 0
  #syncing: Promise<void> | undefined
  #failure: { readonly reason: unknown } | undefined
  #hasSyncFailed = false

  /**
   * @param target.hash what the bytes pass through on their way to the file.
   * @param position where in the file the first byte goes.
   */
  constructor(target: { file: FileHandle; hash: Hashing | undefined }, position: number, budget: WriteBudget) {
    this.#file = target.file
    this.#hash = target.hash
    this.#position = position
    this.#budget = budget
  }

  /**
   * Whether bytes could not be brought to the disk. They may be gone from memory too, so that nothing of the file can be
   * relied on: another fsync would succeed without them (fsync(2)).
   */
  get hasSyncFailed(): boolean {
    return this.#hasSyncFailed
  }

  /**
   * Takes a chunk, and frees it when it is written: it must not be used afterwards.
   * @returns what to wait for before the next one, if anything.
   */
  add(chunk: Uint8Array): Promise<void> | undefined {
    this.#gathered.push(chunk)
    this.#gatheredBytes += chunk.byteLength
    return this.#gatheredBytes >= this.#budget.gather(chunk.byteLength) ? this.#flush() : undefined
  }

  /** Writes the rest and waits for all of it. @throws the first failure. */
  async end(): Promise<void> {
    try {
      await this.#flush()
    } finally {
      await Promise.all(this.#writes)
      await this.#syncing
    }
    this.#throwFailure()
  }

  async #flush(): Promise<void> {
    const [chunks, bytes, position] = [this.#gathered, this.#gatheredBytes, this.#position]
    this.#gathered = []
    this.#gatheredBytes = 0
    this.#position += bytes
    if (bytes === 0) return
    this.#budget.gather(-bytes)
    await this.#budget.take(bytes)
    this.#writingBytes += bytes
    const write = this.#write(chunks, bytes, position)
    this.#writes.add(write)
    void write.then(() => this.#writes.delete(write))
    while (this.#writingBytes > MAX_WRITING_BYTES) await Promise.race(this.#writes)
    this.#throwFailure()
  }

  async #write(chunks: Uint8Array[], bytes: number, position: number): Promise<void> {
    try {
      this.#budget.requireRoom()
      const place = { descriptor: this.#file.fd, position }
      await (this.#hash === undefined ? writeChunks(chunks, place) : this.#hash.write(chunks, place))
      this.#unsyncedBytes += bytes
      if (this.#unsyncedBytes >= SYNCED_BYTES) this.#syncing ??= this.#sync()
    } catch (error) {
      this.#failure ??= { reason: error }
    } finally {
      this.#writingBytes -= bytes
      this.#budget.giveBack(bytes)
    }
  }

  async #sync(): Promise<void> {
    this.#unsyncedBytes = 0
    try {
      await this.#file.datasync()
    } catch (error) {
      this.#hasSyncFailed = true
      this.#failure ??= { reason: error }
    }
    this.#syncing = undefined
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.reason
  }
}
