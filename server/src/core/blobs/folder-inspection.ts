import { createHash } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { digestOf } from './content-hash.ts'
import { type ContentInspector, type ContentState, type InspectionOptions, ReadingPace } from './content-inspection.ts'
import { blobFile } from './filesystem-store.ts'

const READ_SIZE_BYTES = 1024 * 1024

/** Reads and hashes what is in a data folder, one content after the other. */
export class FolderInspector implements ContentInspector {
  readonly width = 1
  readonly isOrdered = false
  readonly #blobs: string
  readonly #pace: ReadingPace
  /** One for all: a new one for each small file would cost more than reading it. */
  readonly #buffer = Buffer.allocUnsafeSlow(READ_SIZE_BYTES)

  /** @param root the data folder. */
  constructor(root: string, options: InspectionOptions) {
    this.#blobs = join(root, 'blobs')
    this.#pace = new ReadingPace(options)
  }

  async look(digest: Digest, sizeBytes: number, isHashed: boolean): Promise<ContentState> {
    const path = blobFile(this.#blobs, digest)
    try {
      const status = await lstat(path)
      if (!status.isFile()) return { kind: 'not-a-file' }
      if (!isReadableByOwner(status)) return { kind: 'unreadable', reason: `its mode is ${octal(status.mode)}` }
      const whole: ContentState = mayBeTouched(status) ? { kind: 'exposed', mode: status.mode } : { kind: 'whole' }
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
      await this.#pace.count(bytesRead)
    }
  }
}

/** Root may read everything, the server's user may not. */
function isReadableByOwner(status: Stats): boolean {
  return (status.mode & 0o400) !== 0
}

/**
 * Whether others on the machine may write to a file, or read it. What has a further name, as after an import, may be read
 * under that: its mode is not ours to change.
 */
function mayBeTouched({ mode, nlink }: Stats): boolean {
  return (mode & (nlink > 1 ? 0o022 : 0o077)) !== 0
}

/** A mode as people write it, such as 0640. */
export function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}
