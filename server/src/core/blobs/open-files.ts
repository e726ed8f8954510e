import { fstatSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ignoreAbsent } from '#platform/disk'

/** How long a file is given to those who ask for it, and how many of them are kept open for that. */
const MAX_AGE_MS = 5_000
const MAX_KEPT = 128

/** A file that is open, and as it was when it was opened. */
export interface OpenFile {
  readonly file: FileHandle
  readonly status: Stats
  /** Everyone whom it was given to says so when it is needed no more. */
  readonly release: () => Promise<void>
}

/**
 * Opens files for reading, and keeps them open for a moment: what is pulled once is pulled again, and the way to the disk
 * and back takes as long as sending megabytes. Whoever asks gets what is under the path then: of an open file the kernel
 * tells at once, without the disk, when it was changed, moved or removed.
 */
export class OpenFiles {
  /** The oldest first. */
  readonly #kept = new Map<string, SharedFile>()

  /** @returns undefined where there is no file. @throws the system's error. */
  async open(path: string): Promise<OpenFile | undefined> {
    const known = this.#kept.get(path)
    if (known?.isAsOpened() === true) return known.use()
    const file = await open(path, 'r').catch(ignoreAbsent)
    const opened = file && new SharedFile(file, await statOf(file))
    const user = opened?.use()
    await this.#keep(path, opened)
    return user
  }

  /** Keeps a file open no longer than those need it who have it: one that is removed takes its room until then. */
  async forget(path: string): Promise<void> {
    await this.#keep(path, undefined)
  }

  /** Keeps this one from now on, or none, instead of the one before. */
  async #keep(path: string, opened: SharedFile | undefined): Promise<void> {
    const retiring = [this.#kept.get(path)]
    this.#kept.delete(path)
    if (opened !== undefined) {
      this.#kept.set(path, opened)
      const isPast = () => this.#kept.get(path) !== opened
      setTimeout(() => void (isPast() || this.forget(path).catch(() => {})), MAX_AGE_MS).unref()
      const [oldest] = this.#kept
      if (this.#kept.size > MAX_KEPT && oldest !== undefined) {
        this.#kept.delete(oldest[0])
        retiring.push(oldest[1])
      }
    }
    await Promise.allSettled(retiring.map(async (one) => one?.retire()))
  }
}

/** An open file and how many use it. */
class SharedFile {
  readonly #file: FileHandle
  readonly #status: Stats
  #users = 0
  #isRetired = false

  constructor(file: FileHandle, status: Stats) {
    this.#file = file
    this.#status = status
  }

  /** Whether it is still what it was, and where it was: each of these changes the time of the last change of its status. */
  isAsOpened(): boolean {
    const now = statNow(this.#file.fd)
    return now?.ctimeMs === this.#status.ctimeMs && now.size === this.#status.size && now.nlink > 0
  }

  use(): OpenFile {
    this.#users++
    let isReleased = false
    const release = async () => {
      if (isReleased) return
      isReleased = true
      this.#users--
      await this.#closeUnused()
    }
    return { file: this.#file, status: this.#status, release }
  }

  /** From now on the last user closes it. */
  async retire(): Promise<void> {
    this.#isRetired = true
    await this.#closeUnused()
  }

  async #closeUnused(): Promise<void> {
    if (this.#isRetired && this.#users === 0) await this.#file.close()
  }
}

/** Undefined where the system has an error to tell, which opening the file again tells, too. */
function statNow(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor)
  } catch {
    return undefined
  }
}

async function statOf(file: FileHandle): Promise<Stats> {
  try {
    return await file.stat()
  } catch (error) {
    await file.close()
    throw error
  }
}
