import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rm, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setInterval } from 'node:timers'
import type { Logger } from '#platform/log'
import { ignoreAbsent } from './absence.ts'
import { DiskFullError, isDiskFull } from './full-disk.ts'

const MEBIBYTE = 1024 * 1024
/** The most that it takes of a disk, and of what is free on it when it is made. */
const SHARE_OF_DISK = 1 / 16
const SHARE_OF_FREE = 1 / 4
/** Less than this helps nobody. */
const MIN_SIZE_BYTES = MEBIBYTE
/** How often one that is missing is tried to be made: pushes wait for it. */
const LOOK_INTERVAL_MS = 1_000
/** The same, after that failed although there seemed to be room, as with quotas. */
const REST_AFTER_FAILURE_MS = 30_000
/** The unit of `blocks` in stat(2). */
const BLOCK_BYTES = 512

/** What a reserve has on the disk. */
export interface ReserveState {
  readonly sizeBytes: number
  /** Whether its room was given away, and nothing is to be stored until it is there again. */
  readonly isSpent: boolean
}

export interface ReserveOptions {
  /** Where it is; an empty file says, after a restart too, that its room was given away. */
  readonly file: string
  /** How large it is to be, unless the disk is small; 0 for none at all. */
  readonly sizeBytes: number
  readonly log: Logger
  readonly onChange: (state: ReserveState) => void
}

/**
 * Room on the disk that nobody uses, so that deletions, which write before they free anything, can go on when the disk
 * is full. From then until it could be made again nothing else is stored, or the room would go to pushes.
 */
export class Reserve {
  readonly #options: ReserveOptions
  #state: ReserveState = { sizeBytes: 0, isSpent: false }
  #neededBytes = 0
  #making: Promise<void> | undefined
  #giving: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #restsUntil = 0
  #hasComplained = false

  private constructor(options: ReserveOptions) {
    this.#options = options
  }

  /** Looks at what an earlier process left. @throws what the disk throws when it cannot be looked at. */
  static async open(options: ReserveOptions): Promise<Reserve> {
    const reserve = new Reserve(options)
    const status = await stat(options.file).catch(ignoreAbsent)
    // A copy may have holes instead of blocks: that holds no room.
    const isWhole = status !== undefined && status.blocks * BLOCK_BYTES >= status.size
    reserve.#set({ sizeBytes: isWhole ? status.size : 0, isSpent: status?.size === 0 })
    await reserve.#plan()
    return reserve
  }

  /** From now on makes it whenever it is missing and there is room. */
  keep(): void {
    void this.#make()
    this.#timer = setInterval(() => {
      if (this.#state.sizeBytes === 0) void this.#make()
    }, LOOK_INTERVAL_MS)
    this.#timer.unref()
  }

  /** Leaves it as it is. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#making
  }

  /** @throws DiskFullError while its room is kept for deletions */
  requireRoom(): void {
    if (this.#state.isSpent) throw new DiskFullError(this.#neededBytes)
  }

  /** Does what makes room in the end. On a full disk the reserve is given for it, and it is done once more. */
  async spendOn<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      if (!isDiskFull(error) || !(await this.#give())) throw error
      return work()
    }
  }

  /** @returns whether there was something to give, or has been. */
  async #give(): Promise<boolean> {
    await this.#making
    if (this.#state.sizeBytes > 0) this.#giving ??= this.#release().finally(() => (this.#giving = undefined))
    await this.#giving
    return this.#state.isSpent
  }

  async #release(): Promise<void> {
    const { file, log } = this.#options
    const before = this.#state
    // Before there is room, so that nothing else takes it.
    this.#set({ sizeBytes: 0, isSpent: true })
    try {
      await rewrite(file, async (handle) => handle.sync())
      await this.#plan()
    } catch (error) {
      this.#set(before)
      log.warn({ err: error }, 'the disk is full, and the reserve could not be given to deletions')
      return
    }
    log.warn(
      { neededBytes: this.#neededBytes },
      'the disk is full: its reserve is used for deletions, and pushes are refused until so much is free',
    )
  }

  async #make(): Promise<void> {
    if (this.#making !== undefined || this.#giving !== undefined || performance.now() < this.#restsUntil) return
    this.#making = this.#makeIfMissing()
      .catch((error: unknown) => {
        this.#restsUntil = performance.now() + REST_AFTER_FAILURE_MS
        this.#complain({ err: error }, 'the reserve for deletions could not be made; it is tried again')
      })
      .finally(() => (this.#making = undefined))
    await this.#making
  }

  async #makeIfMissing(): Promise<void> {
    const { file, log } = this.#options
    const { sizeBytes, isSpent } = this.#state
    const plan = await this.#plan()
    if (sizeBytes === plan.sizeBytes && !isSpent) return
    if (plan.sizeBytes === 0) {
      await rm(file, { force: true })
      this.#set({ sizeBytes: 0, isSpent: false })
      return
    }
    if (plan.freeBytes + sizeBytes < this.#neededBytes) {
      // A smaller one is better than none.
      if (sizeBytes > 0 || isSpent) return
      this.#complain({ ...plan }, 'no room is reserved for deletions: it would take too much of what is free')
      return
    }
    await this.#write(plan.sizeBytes)
    this.#hasComplained = false
    if (isSpent) log.info('the reserve of the disk is there again: pushes go on')
  }

  async #write(sizeBytes: number): Promise<void> {
    const { file } = this.#options
    const { isSpent } = this.#state
    try {
      await rewrite(file, async (handle) => {
        // Some file systems would keep zeros as a hole.
        const piece = randomBytes(MEBIBYTE)
        for (let written = 0; written < sizeBytes;) {
          written += (await handle.write(piece, 0, Math.min(MEBIBYTE, sizeBytes - written))).bytesWritten
        }
        await handle.sync()
      })
      this.#set({ sizeBytes, isSpent: false })
    } catch (error) {
      this.#set({ sizeBytes: 0, isSpent })
      if (isSpent) await rewrite(file, async () => {})
      else await rm(file, { force: true })
      throw error
    }
  }

  /** How large it is to be on this disk, and how much is free there. */
  async #plan(): Promise<{ sizeBytes: number; freeBytes: number }> {
    const { blocks, bavail, bsize } = await statfs(dirname(this.#options.file))
    const wantedBytes = Math.min(this.#options.sizeBytes, Math.floor(blocks * SHARE_OF_DISK) * bsize)
    const sizeBytes = wantedBytes < MIN_SIZE_BYTES ? 0 : wantedBytes
    this.#neededBytes = sizeBytes / SHARE_OF_FREE
    return { sizeBytes, freeBytes: bavail * bsize }
  }

  #complain(fields: object, text: string): void {
    if (!this.#hasComplained) this.#options.log.warn(fields, text)
    this.#hasComplained = true
  }

  #set(state: ReserveState): void {
    this.#state = state
    this.#options.onChange(state)
  }
}

/** Empties a file, or makes it, and fills it. */
async function rewrite(path: string, work: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(path, 'w', 0o600)
  try {
    await work(handle)
  } finally {
    await handle.close()
  }
}
