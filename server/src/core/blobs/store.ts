import type { Readable } from 'node:stream'
import type { Digest } from '@entrepot/oci'

/** An upload that the store holds bytes of. */
export interface StoredUpload {
  readonly id: string
  /** When its last byte was written, in milliseconds since 1970. */
  readonly modifiedAt: number
}

/**
 * Where bytes are kept. An upload is appended to until it is finished; then it is content under its digest.
 * Nothing here is visible to clients until rows say so.
 */
export interface BlobStore {
  /**
   * Appends what the chunks bring to an upload that has `offset` bytes, creating it at 0.
   * @returns the upload's new size in bytes. When the source fails, what was received before is kept; when the store
   * fails, as it does when it is full, the upload is as it was before.
   */
  appendUpload(id: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number>
  /** The bytes received so far; 0 for an upload that nothing was written to. */
  uploadSize(id: string): Promise<number>
  /** All bytes of an upload, in order. */
  readUpload(id: string): AsyncIterable<Uint8Array>
  /** Cuts an upload back to `size` bytes; nothing happens if there is none. */
  truncateUpload(id: string, size: number): Promise<void>
  /**
   * Makes the upload the content of that digest, durably: when the promise resolves a power cut cannot undo it.
   * It fails, and changes no content, when the upload does not have the `sizeBytes` bytes that were verified.
   */
  finishUpload(id: string, digest: Digest, sizeBytes: number): Promise<void>
  /** Forgets an upload; nothing happens if there is none. */
  removeUpload(id: string): Promise<void>
  listUploads(): AsyncIterable<StoredUpload>
  /** The size in bytes of the content of that digest, or undefined if the store has none. */
  size(digest: Digest): Promise<number | undefined>
  /**
   * The content from `start` up to and including `end`. The stream fails, rather than end early, when the store has no
   * such content or less of it.
   */
  read(digest: Digest, start: number, end: number): Readable
  /** Writes and removes a small object, to learn whether the store works. Throws the store's error. */
  check(): Promise<void>
}
