import { createHash } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { digestOf } from './content-hash.ts'
import { blobFile } from './filesystem-store.ts'

const READ_SIZE_BYTES = 1024 * 1024

/** What lies in the store under a digest. */
export type ContentState =
  | { readonly kind: 'absent' }
  /** A folder, a symbolic link, … */
  | { readonly kind: 'not-a-file' }
  | { readonly kind: 'unreadable'; readonly reason: string }
  /** As large as expected and, where it was hashed, right; `mode` says who may read it, `names` how many it has. */
  | { readonly kind: 'whole'; readonly mode: number; readonly names: number }
  /** The bytes are right, but not so many as expected. */
  | { readonly kind: 'other-size'; readonly sizeBytes: number }
  | { readonly kind: 'damaged'; readonly sizeBytes: number }

/** Reads and hashes what is in the store, one content after the other, no faster than it may. */
export class ContentInspector {
  readonly #blobs: string
  readonly #bytesPerMs: number
  readonly #onHashed: (bytes: number) => void
  /** One for all: a new one for each small file would cost more than reading it. */
  readonly #buffer = Buffer.allocUnsafeSlow(READ_SIZE_BYTES)
  #dueAt = 0

  /**
   * @param options.root the data folder.
   * @param options.bytesPerSecond how fast content is read at most; undefined for as fast as the disk.
   * @param options.onHashed is told how many bytes more were hashed.
   */
  constructor(options: { root: string; bytesPerSecond: number | undefined; onHashed: (bytes: number) => void }) {
    this.#blobs = join(options.root, 'blobs')
    this.#bytesPerMs = (options.bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000
    this.#onHashed = options.onHashed
  }

  /**
   * Looks at the content of a digest. What has another size than expected is hashed in any case, so that a wrong row is
   * not taken for wrong bytes.
   */
  async look(digest: Digest, sizeBytes: number, isHashed: boolean): Promise<ContentState> {
    const path = blobFile(this.#blobs, digest)
    try {
      const status = await lstat(path)
      if (!status.isFile()) return { kind: 'not-a-file' }
      if (!isReadableByOwner(status)) return { kind: 'unreadable', reason: `its mode is ${octal(status.mode)}` }
      const whole = { kind: 'whole', mode: status.mode, names: status.nlink } as const
      if (status.size === sizeBytes && !isHashed) return whole
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
      const found = await this.#hash(file, digest).finally(async () => file.close())
      if (found.digest !== digest) return { kind: 'damaged', sizeBytes: found.sizeBytes }
      return found.sizeBytes === sizeBytes ? whole : { kind: 'other-size', sizeBytes: found.sizeBytes }
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error)) throw error
      // Where a folder above it is a file, there is nothing either.
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return { kind: 'absent' }
      return { kind: 'unreadable', reason: error.message }
    }
  }

  /** All bytes of content that is small enough; undefined where they are not there or not right, which `look` tells of. */
  async read(digest: Digest, maxBytes: number): Promise<Buffer | undefined> {
    try {
      const file = await open(blobFile(this.#blobs, digest), constants.O_RDONLY | constants.O_NOFOLLOW)
      try {
        if ((await file.stat()).size > maxBytes) return undefined
        const bytes = await file.readFile()
        return digestOf(digestAlgorithm(digest), bytes) === digest ? bytes : undefined
      } finally {
        await file.close()
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error) return undefined
      throw error
    }
  }

  async #hash(file: FileHandle, digest: Digest): Promise<{ digest: string; sizeBytes: number }> {
    const algorithm = digestAlgorithm(digest)
    const hash = createHash(algorithm)
    const buffer = this.#buffer
    let sizeBytes = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, sizeBytes)
      if (bytesRead === 0) return { digest: `${algorithm}:${hash.digest('hex')}`, sizeBytes }
      hash.update(buffer.subarray(0, bytesRead))
      sizeBytes += bytesRead
      this.#onHashed(bytesRead)
      await this.#pause(bytesRead)
    }
  }

  /** Waits until so many bytes more may have been read. */
  async #pause(bytes: number): Promise<void> {
    if (this.#bytesPerMs === Number.POSITIVE_INFINITY) return
    const now = performance.now()
    this.#dueAt = Math.max(this.#dueAt, now) + bytes / this.#bytesPerMs
    if (this.#dueAt > now) await sleep(this.#dueAt - now)
  }
}

/** Root may read everything, the server's user may not. */
function isReadableByOwner(status: Stats): boolean {
  return (status.mode & 0o400) !== 0
}

/** A mode as people write it, such as 0640. */
export function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}
