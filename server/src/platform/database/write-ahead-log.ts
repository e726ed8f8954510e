import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import type { CheckpointMode, CheckpointOutcome } from './checkpoint-worker.ts'

/** After so many commits, or when the log's file has grown so much, its content is moved into the database. */
const COMMITS_PER_MOVE = 200
const GROWTH_PER_MOVE_BYTES = 4 * 1024 * 1024
/** A log that is this long although it was moved gives its room back; a reader elsewhere may have kept it. */
const MAX_LOG_SIZE_BYTES = 64 * 1024 * 1024
/** SQLite's result code for a disk that fails, the lower byte of those that say where (sqlite.org/rescode.html). */
const SQLITE_IOERR = 10

/**
 * The disk did not take what was committed. It may be gone from memory too, so that nothing after it can be relied on,
 * and another sync would succeed without it (fsync(2)): only a new process, which reads what is really there, may write.
 */
export class WritesStoppedError extends Error {
  constructor(cause: unknown) {
    super('the disk failed to take metadata; nothing is stored until the disk is repaired and Entrepot started again', {
      cause,
    })
    this.name = 'WritesStoppedError'
  }
}

/**
 * Brings SQLite's write-ahead log to the disk, and moves it into the database, without ever keeping the event loop
 * waiting for the disk: commits only write to the log, one sync in a thread serves all that came before it began, and
 * another thread moves the log.
 */
export class WriteAheadLog {
  readonly #databaseFile: string
  readonly #pauseWrites: <Result>(work: () => Promise<Result>) => Promise<Result>
  #file: FileHandle | undefined
  #running: Promise<void> = Promise.resolve()
  #waiting: Promise<void> | undefined
  #commits = 0
  #sizeBytes = 0
  #failure: unknown
  #obstacle: unknown
  #isMoveDue = false
  #worker: Worker | undefined
  #moving: Promise<void> | undefined

  /** @param pauseWrites runs work while no transaction is under way. */
  constructor(databaseFile: string, pauseWrites: <Result>(work: () => Promise<Result>) => Promise<Result>) {
    this.#databaseFile = databaseFile
    this.#pauseWrites = pauseWrites
  }

  /** @throws WritesStoppedError when a sync has failed. */
  throwFailure(): void {
    if (this.#failure !== undefined) throw new WritesStoppedError(this.#failure)
  }

  /**
   * Each call tries again to move a log that could not be moved: where nothing is written, nothing else does.
   * @throws WritesStoppedError; and what keeps the log from being moved: it grows until that ends.
   */
  check(): void {
    this.throwFailure()
    if (this.#obstacle === undefined) return
    this.#moving ??= this.#move().finally(() => (this.#moving = undefined))
    throw this.#obstacle
  }

  /** There was no room for a commit: moving the log, as soon as there is some, gives room to those that follow. */
  noteFull(): void {
    this.#isMoveDue = true
  }

  /** Stops all writing. */
  fail(reason: unknown): void {
    this.#failure ??= reason
  }

  /**
   * Waits until everything that was committed before is on the disk.
   * @throws WritesStoppedError
   */
  async sync(): Promise<void> {
    this.#commits++
    this.#waiting ??= this.#syncNext()
    await this.#waiting
  }

  /** Ends the thread, when nothing is written any more. */
  async close(): Promise<void> {
    await this.#running.catch(() => {})
    await this.#moving
    await this.#worker?.terminate()
    await this.#file?.close()
  }

  async #syncNext(): Promise<void> {
    await this.#running.catch(() => {})
    this.#running = this.#sync()
    this.#waiting = undefined
    await this.#running
  }

  async #sync(): Promise<void> {
    this.throwFailure()
    try {
      this.#file ??= await open(`${this.#databaseFile}-wal`, 'r')
      await this.#file.datasync()
    } catch (error) {
      this.fail(error)
    }
    this.throwFailure()
    // Nobody who waits for the sync waits for this, too.
    this.#moving ??= this.#moveWhenLong(this.#file).finally(() => (this.#moving = undefined))
  }

  async #moveWhenLong(file: FileHandle | undefined): Promise<void> {
    let size = 0
    try {
      size = (await file?.stat())?.size ?? 0
    } catch (error) {
      this.fail(error)
      return
    }
    const isLong = this.#commits >= COMMITS_PER_MOVE || size >= this.#sizeBytes + GROWTH_PER_MOVE_BYTES
    if (!isLong && !this.#isMoveDue) return
    this.#isMoveDue = false
    this.#commits = 0
    this.#sizeBytes = size
    await this.#move()
  }

  async #move(): Promise<void> {
    try {
      await this.#checkpoint('PASSIVE')
      // What was written meanwhile is little. When all is moved, the next commit begins the log anew: one that only
      // grows makes each sync cost more.
      const logSizeBytes = await this.#pauseWrites(async () => this.#checkpoint('PASSIVE'))
      if (logSizeBytes >= MAX_LOG_SIZE_BYTES) {
        await this.#pauseWrites(async () => this.#checkpoint('TRUNCATE'))
        this.#sizeBytes = 0
      }
      this.#obstacle = undefined
    } catch (error) {
      // On a full disk, for instance: the log keeps everything, and the next move makes up for it.
      this.#obstacle = error
    }
  }

  /** @returns how long the log was. */
  async #checkpoint(mode: CheckpointMode): Promise<number> {
    const worker = (this.#worker ??= startWorker(this.#databaseFile))
    const answer = once(worker, 'message')
    worker.ref()
    worker.postMessage(mode)
    try {
      const [outcome]: CheckpointOutcome[] = await answer
      if (outcome?.failure === undefined) return outcome?.logSizeBytes ?? 0
      if ((outcome.failure.code & 0xff) === SQLITE_IOERR) this.fail(new Error(outcome.failure.message))
      throw new Error(`the log of the database cannot be moved into it: ${outcome.failure.message}`)
    } catch (error) {
      this.#worker = undefined
      void worker.terminate()
      throw error
    } finally {
      worker.unref()
    }
  }
}

function startWorker(databaseFile: string): Worker {
  const worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), { workerData: databaseFile })
  worker.unref()
  return worker
}
