import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { DigestAlgorithm } from '@entrepot/oci'
import type { FilePlace } from './write-chunks.ts'

/** What the thread is asked; only `update`, `write` and `digest` are answered, in their order. */
export type HashOrder =
  | { readonly verb: 'begin'; readonly key: number; readonly algorithm: DigestAlgorithm }
  | { readonly verb: 'update'; readonly key: number; readonly buffers: ArrayBuffer[] }
  | { readonly verb: 'write'; readonly key: number; readonly buffers: ArrayBuffer[]; readonly target: FilePlace }
  | { readonly verb: 'copy'; readonly key: number; readonly from: number }
  | { readonly verb: 'digest'; readonly key: number }
  | { readonly verb: 'drop'; readonly key: number }

/** The memory that was hashed comes back, unless it was written; `digest` in hexadecimal digits. */
export interface HashReply {
  readonly buffers: ArrayBuffer[]
  readonly digest: string
  /** What the file system said instead of writing. */
  readonly failure: { readonly message: string; readonly code: string } | undefined
}

/** Beside the event loop, which moves the bytes, and what the kernel does for both, more find nothing to do. */
const MAX_THREADS = 4

/** A thread that hashes and writes, so that uploads use more than one processor. */
export class HashThread {
  readonly #worker = new Worker(new URL('./hash-worker.ts', import.meta.url))
  readonly #waiting: PromiseWithResolvers<HashReply>[] = []
  readonly #dropped = new FinalizationRegistry<number>((key) => this.#order({ verb: 'drop', key }))
  #lastKey = 0
  #failure: unknown

  constructor() {
    this.#worker.on('message', (reply: HashReply) => this.#answer(reply))
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', () => this.#fail(new Error('the thread that hashes has ended')))
    this.#worker.unref()
  }

  /** Whether it still knows the digests in the making. */
  get isAlive(): boolean {
    return this.#failure === undefined
  }

  /**
   * Begins a digest, or goes on from a copy of another one.
   * @param owner the digest is forgotten when this is no longer used.
   * @returns the digest's number.
   */
  begin(owner: object, origin: DigestAlgorithm | number): number {
    const key = ++this.#lastKey
    this.#order(
      typeof origin === 'number' ? { verb: 'copy', key, from: origin } : { verb: 'begin', key, algorithm: origin },
    )
    this.#dropped.register(owner, key)
    return key
  }

  /** Takes the memory, hashes it in the order of the calls, and gives it back. */
  async update(key: number, buffers: ArrayBuffer[]): Promise<ArrayBuffer[]> {
    return (await this.#ask({ verb: 'update', key, buffers }, buffers)).buffers
  }

  /**
   * Takes the memory, hashes it in the order of the calls, writes it to a file, and frees it.
   * @throws what the file system says, with its `code`.
   */
  async write(key: number, buffers: ArrayBuffer[], target: FilePlace): Promise<void> {
    const { failure } = await this.#ask({ verb: 'write', key, buffers, target }, buffers)
    if (failure !== undefined) throw Object.assign(new Error(failure.message), { code: failure.code, syscall: 'write' })
  }

  /** The digest so far, in hexadecimal digits. */
  async digest(key: number): Promise<string> {
    return (await this.#ask({ verb: 'digest', key })).digest
  }

  async #ask(order: HashOrder, moved: ArrayBuffer[] = []): Promise<HashReply> {
    if (this.#failure !== undefined) throw this.#failure
    const answer = Promise.withResolvers<HashReply>()
    this.#waiting.push(answer)
    // Only a thread that somebody waits for keeps the process alive.
    this.#worker.ref()
    this.#order(order, moved)
    return answer.promise
  }

  #answer(reply: HashReply): void {
    this.#waiting.shift()?.resolve(reply)
    if (this.#waiting.length === 0) this.#worker.unref()
  }

  #order(order: HashOrder, moved: ArrayBuffer[] = []): void {
    this.#worker.postMessage(order, moved)
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    for (const answer of this.#waiting.splice(0)) answer.reject(this.#failure)
  }
}

const threads: HashThread[] = []
let turn = 0

/** One of the threads, begun when first needed; undefined where there is a single processor. */
export function findHashThread(): HashThread | undefined {
  const processors = availableParallelism()
  if (processors === 1) return undefined
  // While one waits for the disk another one works.
  const count = Math.min(MAX_THREADS, processors)
  turn = (turn + 1) % count
  const known = threads[turn]
  return known?.isAlive === true ? known : (threads[turn] = new HashThread())
}
