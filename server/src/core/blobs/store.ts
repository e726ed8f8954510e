import type { Digest, DigestAlgorithm } from '@entrepot/oci'
import { ObjectStoreError } from '#platform/s3'
import type { FileOrder, FileOutcome, PreparedFile, RefusedFile } from './file-intake.ts'
import type { FilePlace } from './write-chunks.ts'

/** An upload that the store holds bytes of. */
export interface StoredUpload {
  readonly id: string
  /** When its last byte was written, in milliseconds since 1970. */
  readonly modifiedAt: number
}

/** Content that is open for reading. */
export interface StoredContent {
  readonly sizeBytes: number
  /** The operating system's number of the file, where it is one. */
  readonly descriptor: number | undefined
  /** Another one after the content was replaced, and after a write to where it is kept. */
  readonly identity: string
  /** Another one also after a write that hides itself; moving it changes this, too. */
  readonly changedAt: number
  /**
   * Fills the target with what begins at a position; gives the number of bytes, 0 at the end.
   * @param end the last byte that will be asked for, where that is known: a store may then fetch all until there at once.
   */
  read(target: Uint8Array, position: number, end?: number): Promise<number>
  /** Whether it has the same identity as when it was opened; being replaced by other content does not count. */
  isUnchanged(): Promise<boolean>
  /** The digest of all its bytes, read anew, without keeping others waiting. It must not be closed until then. */
  digest(algorithm: DigestAlgorithm): Promise<Digest>
  close(): Promise<void>
}

/** What all bytes of an upload pass through, in their order, before they are written. */
export interface Hashing {
  /** Takes bytes and gives the same bytes back: what was given must not be used any more. */
  update(chunks: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
  /**
   * Takes bytes, writes them to a file while the processor's cache still has them, and frees their memory.
   * @throws what the file system says; nothing is known then of what it has of them.
   */
  write(chunks: readonly Uint8Array[], place: FilePlace): Promise<void>
}

export interface LeftoverOptions {
  readonly before: number
  readonly isDryRun: boolean
  readonly isEnding: () => boolean
}

/** How files of this machine become content, without moving their bytes where that can be done. */
export interface FileAdoption {
  /**
   * Compares files with their digests, until so many bytes were read.
   * @returns what became of the first of them, in their order. What is prepared must be placed or discarded.
   */
  prepare(orders: readonly FileOrder[], maxBytes: number): Promise<FileOutcome[]>
  /**
   * Makes verified files content, durably. Nobody may store the same content meanwhile.
   * @returns those that were changed since they were verified.
   */
  place(files: readonly PreparedFile[]): Promise<RefusedFile[]>
  discard(outcomes: readonly FileOutcome[]): Promise<void>
}

/**
 * Where bytes are kept. An upload is appended to until it is finished; then it is content under its digest.
 * Nothing here is visible to clients until rows say so.
 */
export interface BlobStore {
  /**
   * Appends what the chunks bring to an upload that has `offset` bytes, creating it at 0. The chunks are the store's
   * from then on: it may free their memory.
   * @param hash gets all bytes too, on their way.
   * @returns the upload's new size in bytes. When the source fails, what was received before is kept; when the store
   * fails, as it does when it is full, the upload is as it was before.
   */
  appendUpload(id: string, offset: number, chunks: AsyncIterable<Uint8Array>, hash?: Hashing): Promise<number>
  /** The bytes received so far; 0 for an upload that nothing was written to. */
  uploadSize(id: string): Promise<number>
  /** All bytes of an upload, in order. */
  readUpload(id: string): AsyncIterable<Uint8Array>
  /** Cuts an upload back to `size` bytes; nothing happens if there is none. */
  truncateUpload(id: string, size: number): Promise<void>
  /** Does what can take long of finishing an upload whose bytes are all there, so that `finishUpload` is quick. */
  joinUpload(id: string): Promise<void>
  /**
   * Makes the upload the content of that digest, durably: when the promise resolves a power cut cannot undo it.
   * It fails, and changes no content, when the upload does not have the `sizeBytes` bytes that were verified.
   */
  finishUpload(id: string, digest: Digest, sizeBytes: number): Promise<void>
  /** Lets whoever is writing to an upload write into the void from now on: the bytes received so far stay. */
  detachUpload(id: string): Promise<void>
  /** Forgets an upload; nothing happens if there is none. */
  removeUpload(id: string): Promise<void>
  listUploads(): AsyncIterable<StoredUpload>
  /** The size in bytes of the content of that digest, or undefined if the store has none. */
  size(digest: Digest): Promise<number | undefined>
  /** Opens the content of that digest; undefined if the store has none. Whoever opens it closes it. */
  open(digest: Digest): Promise<StoredContent | undefined>
  /**
   * Looks at what there is under some digests, to remove it later: what another instance stores under them meanwhile may
   * stay.
   * @returns forgets that content, of those of the digests that it is given. Who has begun to read it may go on.
   */
  prepareRemoval(digests: readonly Digest[]): Promise<(digests: readonly Digest[]) => Promise<void>>
  /**
   * Takes damaged content out of reach without deleting it: the store has none under the digest from then on, so that the
   * next push of it makes it whole. What was put aside under the same digest before gives way. Nothing happens if there
   * is no content; a power cut cannot undo it. Nobody may store the same content meanwhile.
   */
  quarantine(digest: Digest): Promise<void>
  /** Whether the store has no content; uploads do not count. */
  isEmpty(): Promise<boolean>
  readonly adoption: FileAdoption
  /** Writes and removes a small object, to learn whether the store works. Throws the store's error. */
  check(): Promise<void>
  /**
   * Removes what belongs neither to content nor to an upload since before a time, in milliseconds since 1970.
   * @param options.isDryRun only tells
   * @param options.isEnding asked now and then whether to stop early
   * @returns the names of what was, or would be, removed
   */
  removeLeftovers(options: LeftoverOptions): Promise<string[]>
  /** Why something could not be made durable; undefined since that has worked again. */
  readonly syncFailure: unknown
}

/** Whether an error is of the disk or of the bucket. */
export function isStoreError(error: unknown): boolean {
  return error instanceof ObjectStoreError || (error instanceof Error && 'syscall' in error)
}
