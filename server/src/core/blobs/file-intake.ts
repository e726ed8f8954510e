import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Digest } from '@entrepot/oci'

/** Files that a thread takes at once: few, so that threads end together, and enough to be worth a message. */
const PIECE_SIZE = 8
/** How long threads wait for more before they end. */
const IDLE_MS = 5_000
/** More than cores: threads also wait for the disk. */
const THREADS = Math.max(4, availableParallelism())

/** A file that is to become content. */
export interface FileOrder {
  readonly digest: Digest
  /** A file that must say the digest, as CNCF distribution keeps of everything; undefined where there is none. */
  readonly namedIn: string | undefined
  /** Where the bytes are; undefined where the store has them, and only the name is to be read. */
  readonly source: string | undefined
}

/** A file whose bytes are those of its digest. */
export interface PreparedFile {
  readonly kind: 'prepared'
  readonly digest: Digest
  readonly source: string
  readonly sizeBytes: number
  /** A copy that becomes the content; undefined where the file itself does, under a further name. */
  readonly copy: string | undefined
  /** What tells the file that was verified from another one under its name. */
  readonly identity: string
}

/** What became of a file that was looked at. */
export type FileOutcome =
  | PreparedFile
  /** Only its name was to be read, and is right. */
  | { readonly kind: 'named'; readonly digest: Digest }
  | {
      /** The file that must say the digest is absent, or does not say it; the bytes are absent, wrong, or cannot be read. */
      readonly kind: 'forgotten' | 'unnamed' | 'absent' | 'damaged' | 'unreadable'
      readonly digest: Digest
      readonly message: string
    }

/** A file that does not become content. */
export type RefusedFile = Exclude<FileOutcome, { kind: 'prepared' | 'named' }>

/** What threads are sent, and how they answer. */
export type IntakeTask =
  | { readonly work: 'prepare'; readonly orders: readonly (FileOrder & { readonly spare: string | undefined })[] }
  | { readonly work: 'place'; readonly files: readonly (PreparedFile & { readonly target: string })[] }
export interface IntakeAnswer {
  readonly outcomes: readonly FileOutcome[]
  /** What the disk that is written to says. */
  readonly failure: { readonly code: string; readonly message: string } | undefined
}

/** Reads, compares and links or copies files in threads, so that the event loop is free for clients. */
export class FileIntake {
  readonly #spares: string | undefined
  readonly #idle: Worker[] = []
  readonly #workers = new Set<Worker>()
  readonly #waiting: ((worker: Worker) => void)[] = []
  #timer: NodeJS.Timeout | undefined

  /** @param spares the folder for copies in the making; undefined to compare files with their digests, and nothing else. */
  constructor(spares: string | undefined) {
    this.#spares = spares
  }

  /**
   * Compares files with their digests and, where they cannot be linked to, copies them.
   * @param maxBytes stops after so many bytes.
   * @returns what became of the first of them, in their order; those that are missing there were not looked at.
   * @throws the error of a disk that cannot be written to.
   */
  async prepare(orders: readonly FileOrder[], maxBytes: number): Promise<FileOutcome[]> {
    const read = { bytes: 0 }
    let start = 0
    const answers: Promise<readonly FileOutcome[]>[] = []
    while (start < orders.length && read.bytes < maxBytes) {
      const worker = await this.#worker()
      const piece = orders.slice(start, start + PIECE_SIZE)
      start += piece.length
      const spareOf = () => (this.#spares === undefined ? undefined : join(this.#spares, randomUUID()))
      const task: IntakeTask = { work: 'prepare', orders: piece.map((order) => ({ ...order, spare: spareOf() })) }
      const answer = this.#run(worker, task)
      answer.then(
        (outcomes) => {
          for (const outcome of outcomes) if (outcome.kind === 'prepared') read.bytes += outcome.sizeBytes
        },
        () => (read.bytes = maxBytes),
      )
      answers.push(answer)
    }
    const outcomes = (await Promise.allSettled(answers)).flatMap((answer) =>
      answer.status === 'fulfilled' ? answer.value : [],
    )
    try {
      await Promise.all(answers)
    } catch (error) {
      await this.discard(outcomes)
      throw error
    }
    return outcomes
  }

  /** Removes the copies that were made of files which do not become content. */
  async discard(outcomes: readonly FileOutcome[]): Promise<void> {
    for (const outcome of outcomes) {
      if (outcome.kind === 'prepared' && outcome.copy !== undefined) await rm(outcome.copy, { force: true })
    }
  }

  /**
   * Gives verified files their place, in folders that are there. Nobody may store the same content meanwhile.
   * @returns those that were changed since they were verified.
   */
  async place(files: readonly (PreparedFile & { readonly target: string })[]): Promise<RefusedFile[]> {
    const answers: Promise<readonly FileOutcome[]>[] = []
    const share = Math.max(PIECE_SIZE, Math.ceil(files.length / THREADS))
    for (let start = 0; start < files.length; start += share) {
      const worker = await this.#worker()
      answers.push(this.#run(worker, { work: 'place', files: files.slice(start, start + share) }))
    }
    const outcomes = (await Promise.all(answers)).flat()
    return outcomes.filter((outcome) => outcome.kind !== 'prepared' && outcome.kind !== 'named')
  }

  /** A thread that is free, when there is one. */
  async #worker(): Promise<Worker> {
    clearTimeout(this.#timer)
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    if (this.#workers.size < THREADS) return this.#start()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async #run(worker: Worker, task: IntakeTask): Promise<readonly FileOutcome[]> {
    const answer = Promise.withResolvers<IntakeAnswer>()
    worker.once('message', answer.resolve)
    worker.once('error', answer.reject)
    worker.postMessage(task)
    try {
      const { outcomes, failure } = await answer.promise
      if (failure === undefined) return outcomes
      throw Object.assign(new Error(failure.message), { code: failure.code, syscall: 'write' })
    } catch (error) {
      if (!(error instanceof Error && 'syscall' in error)) this.#workers.delete(worker)
      throw error
    } finally {
      worker.off('error', answer.reject)
      this.#release(worker)
    }
  }

  #release(worker: Worker): void {
    const next = this.#waiting.shift()
    const isAlive = this.#workers.has(worker)
    if (next !== undefined) next(isAlive ? worker : this.#start())
    else if (isAlive) this.#idle.push(worker)
    if (this.#idle.length < this.#workers.size) return
    this.#timer = setTimeout(() => {
      for (const idle of this.#idle.splice(0)) {
        this.#workers.delete(idle)
        void idle.terminate()
      }
    }, IDLE_MS).unref()
  }

  #start(): Worker {
    const worker = new Worker(new URL('./file-intake-worker.ts', import.meta.url))
    // Whoever waits for it has a connection that keeps the process alive.
    worker.unref()
    this.#workers.add(worker)
    return worker
  }
}
