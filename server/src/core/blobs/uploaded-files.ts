import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { digestAlgorithm } from '@entrepot/oci'
import { isAbsence } from '#platform/disk'
import { ContentHash } from './content-hash.ts'
import { FileIntake, type FileOrder, type FileOutcome, type PreparedFile, type RefusedFile } from './file-intake.ts'
import type { BlobStore, FileAdoption } from './store.ts'

/** Files that are sent at once. */
const WIDTH = 8
const READ_SIZE_BYTES = 1024 * 1024

/** Files that are read from anywhere. */
export interface SourceFiles {
  /** Whether the files that must say a digest do so; what must be said nowhere is named, too. */
  checkNames(orders: readonly FileOrder[]): Promise<FileOutcome[]>
  /** The bytes of a file, in memory that is not used again. */
  read(source: string): AsyncIterable<Uint8Array>
  /** Whether a read failed because there is no such file. */
  isAbsence(error: unknown): boolean
}

/**
 * Files become content as uploads do: sent, and hashed on their way. So it is where the store, or what the files come from,
 * is no folder of this machine.
 */
export class UploadedFiles implements FileAdoption {
  readonly #store: BlobStore | undefined
  readonly #files: SourceFiles

  /** @param store undefined to compare files with their digests, and nothing else. */
  constructor(store: BlobStore | undefined, files: SourceFiles = new LocalFiles()) {
    this.#store = store
    this.#files = files
  }

  async prepare(orders: readonly FileOrder[], maxBytes: number): Promise<FileOutcome[]> {
    const outcomes: FileOutcome[] = []
    let bytes = 0
    while (outcomes.length < orders.length && bytes < maxBytes) {
      const group = orders.slice(outcomes.length, outcomes.length + WIDTH)
      const names = await this.#files.checkNames(group)
      const sent = await Promise.allSettled(
        group.map(async ({ digest, source }, index) => {
          const name = names[index]
          return name?.kind === 'named' && source !== undefined ? this.#send({ digest, source }) : name
        }),
      )
      for (const outcome of sent) {
        if (outcome.status === 'rejected') {
          await this.discard(sent.flatMap((other) => (other.status === 'fulfilled' ? (other.value ?? []) : [])))
          await this.discard(outcomes)
          throw outcome.reason
        }
        if (outcome.value !== undefined) outcomes.push(outcome.value)
        if (outcome.value?.kind === 'prepared') bytes += outcome.value.sizeBytes
      }
    }
    return outcomes
  }

  async place(files: readonly PreparedFile[]): Promise<RefusedFile[]> {
    for (let start = 0; start < files.length; start += WIDTH) {
      await Promise.all(
        files.slice(start, start + WIDTH).map(async ({ copy, digest, sizeBytes }) => {
          if (copy !== undefined) await this.#store?.finishUpload(copy, digest, sizeBytes)
        }),
      )
    }
    return []
  }

  async discard(outcomes: readonly FileOutcome[]): Promise<void> {
    for (const outcome of outcomes) {
      if (outcome.kind === 'prepared' && outcome.copy !== undefined) await this.#store?.removeUpload(outcome.copy)
    }
  }

  async #send({ digest, source }: { digest: PreparedFile['digest']; source: string }): Promise<FileOutcome> {
    const id = randomUUID()
    const hash = new ContentHash(digestAlgorithm(digest))
    const reading: { failure: unknown } = { failure: undefined }
    const chunks = noting(this.#files.read(source), reading)
    try {
      if (this.#store === undefined) for await (const chunk of chunks) await hash.update([chunk])
      else await this.#store.appendUpload(id, 0, chunks, hash)
    } catch (error) {
      await this.#store?.removeUpload(id)
      if (reading.failure === undefined) throw error
      return this.#refused(digest, reading.failure)
    }
    const actual = await hash.digest()
    if (actual === digest) {
      const copy = this.#store === undefined ? undefined : id
      return { kind: 'prepared', digest, source, sizeBytes: hash.sizeBytes, copy, identity: id }
    }
    await this.#store?.removeUpload(id)
    return { kind: 'damaged', digest, message: `the content ${source} has the digest ${actual}` }
  }

  #refused(digest: PreparedFile['digest'], error: unknown): RefusedFile {
    const message = error instanceof Error ? error.message : String(error)
    return { kind: this.#files.isAbsence(error) ? 'absent' : 'unreadable', digest, message }
  }
}

/** Files of this machine. */
class LocalFiles implements SourceFiles {
  /** Reads only the files that must say a digest. */
  readonly #names = new FileIntake(undefined)

  async checkNames(orders: readonly FileOrder[]): Promise<FileOutcome[]> {
    const named = orders.map((order) => ({ ...order, source: undefined }))
    return this.#names.prepare(named, Number.POSITIVE_INFINITY)
  }

  read(source: string): AsyncIterable<Uint8Array> {
    return createReadStream(source, { highWaterMark: READ_SIZE_BYTES })
  }

  isAbsence(error: unknown): boolean {
    return isAbsence(error)
  }
}

/** The bytes of a file; of a read that fails it is noted that it was no write. */
async function* noting(chunks: AsyncIterable<Uint8Array>, reading: { failure: unknown }): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks
  } catch (error) {
    reading.failure = error
    throw error
  }
}
