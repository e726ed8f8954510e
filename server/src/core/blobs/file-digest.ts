import { Worker } from 'node:worker_threads'
import type { Digest, DigestAlgorithm } from '@entrepot/oci'

/** A file to hash. */
export interface FileDigestOrder {
  readonly key: number
  readonly descriptor: number
  readonly sizeBytes: number
  readonly algorithm: DigestAlgorithm
}

/** The digest in hexadecimal digits, or why there is none. */
export interface FileDigestAnswer {
  readonly key: number
  readonly hex: string
  readonly failure: { readonly code: string; readonly message: string } | undefined
}

/** Reads and hashes files in a thread of its own, so that neither keeps the event loop from its clients. */
export class FileDigests {
  readonly #waiting = new Map<number, PromiseWithResolvers<FileDigestAnswer>>()
  #worker: Worker | undefined
  #lastKey = 0

  /**
   * The digest of the first `sizeBytes` bytes of an open file, which must stay open until then.
   * @throws the error of the read that failed.
   */
  async digest(algorithm: DigestAlgorithm, file: { descriptor: number; sizeBytes: number }): Promise<Digest> {
    const worker = (this.#worker ??= this.#start())
    const answer = Promise.withResolvers<FileDigestAnswer>()
    const key = ++this.#lastKey
    this.#waiting.set(key, answer)
    const order: FileDigestOrder = { key, algorithm, ...file }
    worker.postMessage(order)
    const { hex, failure } = await answer.promise
    if (failure === undefined) return `${algorithm}:${hex}`
    throw Object.assign(new Error(failure.message), { code: failure.code, syscall: 'read' })
  }

  #start(): Worker {
    const worker = new Worker(new URL('./file-digest-worker.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    })
    worker.on('message', (answer: FileDigestAnswer) => {
      this.#waiting.get(answer.key)?.resolve(answer)
      this.#waiting.delete(answer.key)
    })
    worker.on('error', (error) => this.#fail(worker, error))
    worker.on('exit', () => this.#fail(worker, new Error('the thread that hashes files has ended')))
    // Whoever waits for it has a connection that keeps the process alive. After the listeners, which would undo it.
    worker.unref()
    return worker
  }

  #fail(worker: Worker, error: unknown): void {
    if (worker !== this.#worker) return
    this.#worker = undefined
    for (const answer of this.#waiting.values()) answer.reject(error)
    this.#waiting.clear()
  }
}
