import { createReadStream, type Stats } from 'node:fs'
import { constants, copyFile, mkdir, open, opendir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Digest, digestAlgorithm, digestHex } from '@entrepot/oci'
import { ignoreAbsent, syncFolder } from '#platform/disk'
import { FileDigests } from './file-digest.ts'
import { FileIntake, type PreparedFile, type RefusedFile } from './file-intake.ts'
import { OpenFiles } from './open-files.ts'
import { GatheredWriter, WriteBudget } from './gathered-writer.ts'
import type { BlobStore, FileAdoption, Hashing, StoredContent, StoredUpload } from './store.ts'

const READ_SIZE_BYTES = 1024 * 1024

/**
 * Blobs in a folder:
 *
 *     <root>/
 *       blobs/<algorithm>/<first two digits>/<hexadecimal digest>   finished content, never changed
 *       uploads/<upload id>                                        bytes received so far
 *       quarantine/<algorithm>/<hexadecimal digest>                content that was found damaged
 *
 * All lie on one file system, so that finishing an upload is a rename.
 */
export class FilesystemStore implements BlobStore {
  readonly adoption: FileAdoption
  readonly #root: string
  readonly #blobs: string
  readonly #uploads: string
  readonly #quarantine: string
  readonly #budget: WriteBudget
  readonly #files = new OpenFiles()
  readonly #digests = new FileDigests()
  readonly #durableFolders = new Set<string>()
  #syncFailure: unknown

  private constructor(root: string, requireRoom: () => void) {
    this.#root = resolve(root)
    this.#budget = new WriteBudget(requireRoom)
    this.#blobs = join(this.#root, 'blobs')
    this.#uploads = join(this.#root, 'uploads')
    this.#quarantine = join(this.#root, 'quarantine')
    const intake = new FileIntake(this.#uploads)
    this.adoption = {
      prepare: async (orders, maxBytes) => {
        requireRoom()
        return intake.prepare(orders, maxBytes)
      },
      place: async (files) => this.#place(intake, files),
      discard: async (outcomes) => intake.discard(outcomes),
    }
  }

  /**
   * Opens the store in a folder, which is created if need be, for this user alone.
   * @param requireRoom asked before each write of an upload's bytes: it throws while none may be written.
   */
  static async open(root: string, requireRoom: () => void = () => {}): Promise<FilesystemStore> {
    const store = new FilesystemStore(root, requireRoom)
    await mkdir(store.#blobs, { recursive: true, mode: 0o700 })
    await mkdir(store.#uploads, { recursive: true, mode: 0o700 })
    return store
  }

  /** Why something could not be brought to the disk; undefined since that has worked again. */
  get syncFailure(): unknown {
    return this.#syncFailure
  }

  async appendUpload(id: string, offset: number, chunks: AsyncIterable<Uint8Array>, hash?: Hashing): Promise<number> {
    const path = this.#uploadPath(id)
    const file = await open(path, offset === 0 ? 'w' : 'r+', 0o600)
    const writer = new GatheredWriter({ file, hash }, offset, this.#budget)
    let size = offset
    try {
      try {
        for await (const chunk of chunks) {
          const room = writer.add(chunk)
          size += chunk.byteLength
          if (room !== undefined) await room
        }
      } finally {
        await writer.end().catch(async (error: unknown) => {
          if (writer.hasSyncFailed) {
            this.#syncFailure = error
            await rm(path, { force: true })
          } else await file.truncate(offset)
          throw error
        })
      }
      return size
    } finally {
      await file.close()
    }
  }

  async uploadSize(id: string): Promise<number> {
    return (await sizeOf(this.#uploadPath(id))) ?? 0
  }

  async *readUpload(id: string): AsyncIterable<Uint8Array> {
    if ((await this.uploadSize(id)) === 0) return
    yield* createReadStream(this.#uploadPath(id), { highWaterMark: READ_SIZE_BYTES })
  }

  async truncateUpload(id: string, size: number): Promise<void> {
    await truncate(this.#uploadPath(id), size).catch(ignoreAbsent)
  }

  async joinUpload(): Promise<void> {
    // It is one file.
  }

  async finishUpload(id: string, digest: Digest, sizeBytes: number): Promise<void> {
    const source = this.#uploadPath(id)
    const folder = dirname(this.#blobPath(digest))
    // Nothing was ever written to an upload without bytes.
    const file = await open(source, sizeBytes === 0 ? 'a' : 'r+', 0o600)
    try {
      const { size } = await file.stat()
      if (size !== sizeBytes) throw new Error(`the upload ${id} has ${size} bytes, but ${sizeBytes} were verified`)
      await file.datasync().catch(async (error: unknown) => {
        // What could not be written may be gone from memory too: another fsync would then succeed without it (fsync(2)).
        this.#syncFailure = error
        await rm(source, { force: true })
        throw error
      })
    } finally {
      await file.close()
    }
    await this.#makeFolder(folder)
    // Replacing content of the same digest is right: these bytes were just verified, the older ones may have decayed.
    await rename(source, join(folder, digestHex(digest)))
    await this.#syncFolder(folder)
    this.#syncFailure = undefined
  }

  async detachUpload(id: string): Promise<void> {
    const path = this.#uploadPath(id)
    const copy = `${path}.copy`
    try {
      await copyFile(path, copy, constants.COPYFILE_FICLONE)
      await rename(copy, path)
    } catch (error) {
      await rm(copy, { force: true })
      ignoreAbsent(error)
    }
  }

  async removeUpload(id: string): Promise<void> {
    await rm(this.#uploadPath(id), { force: true })
  }

  async *listUploads(): AsyncIterable<StoredUpload> {
    for await (const entry of await opendir(this.#uploads)) {
      const status = await stat(join(this.#uploads, entry.name)).catch(ignoreAbsent)
      if (status !== undefined) yield { id: entry.name, modifiedAt: status.mtimeMs }
    }
  }

  async size(digest: Digest): Promise<number | undefined> {
    return sizeOf(this.#blobPath(digest))
  }

  async open(digest: Digest): Promise<StoredContent | undefined> {
    const opened = await this.#files.open(this.#blobPath(digest))
    if (opened === undefined) return undefined
    const { file, status, release } = opened
    const { size, ctimeMs } = status
    return {
      sizeBytes: size,
      descriptor: file.fd,
      identity: identityOf(status),
      changedAt: ctimeMs,
      read: async (target, position) => (await file.read(target, 0, target.byteLength, position)).bytesRead,
      isUnchanged: async () => identityOf(await file.stat()) === identityOf(status),
      digest: async (algorithm) => this.#digests.digest(algorithm, { descriptor: file.fd, sizeBytes: size }),
      close: release,
    }
  }

  async prepareRemoval(): Promise<(digests: readonly Digest[]) => Promise<void>> {
    // Nobody else works in the folder.
    return async (digests) => {
      for (const path of digests.map((digest) => this.#blobPath(digest))) {
        await rm(path, { force: true })
        await this.#files.forget(path)
      }
    }
  }

  async quarantine(digest: Digest): Promise<void> {
    if ((await this.size(digest)) === undefined) return
    const folder = join(this.#quarantine, digestAlgorithm(digest))
    await this.#makeFolder(folder)
    await rename(this.#blobPath(digest), join(folder, digestHex(digest)))
    // First where it is now: a power cut in between leaves it in one of the two places at least.
    await this.#syncFolder(folder)
    await this.#syncFolder(dirname(this.#blobPath(digest)))
  }

  async isEmpty(): Promise<boolean> {
    for await (const entry of await opendir(this.#blobs, { recursive: true })) if (!entry.isDirectory()) return false
    return true
  }

  async removeLeftovers(): Promise<string[]> {
    // A file is an upload until it is content.
    return []
  }

  async check(): Promise<void> {
    const path = this.#uploadPath(`check-${process.pid}`)
    try {
      await writeFile(path, 'ok', { flush: true })
      this.#syncFailure = undefined
    } finally {
      await rm(path, { force: true })
    }
  }

  async #place(intake: FileIntake, files: readonly PreparedFile[]): Promise<RefusedFile[]> {
    const placed = files.map((file) => ({ ...file, target: this.#blobPath(file.digest) }))
    const folders = new Set(placed.map(({ target }) => dirname(target)))
    for (const folder of folders) await this.#makeFolder(folder)
    const refused = await intake.place(placed)
    await Promise.all([...folders].map(async (folder) => this.#syncFolder(folder)))
    return refused
  }

  /** Makes a folder whose name, and those of the folders above it, a power cut cannot undo. */
  async #makeFolder(folder: string): Promise<void> {
    if (folder === this.#root || this.#durableFolders.has(folder)) return
    const above = dirname(folder)
    await this.#makeFolder(above)
    // One by one: of a recursive mkdir that the disk fails, Node.js says that a folder is missing.
    await mkdir(folder, { mode: 0o700 }).catch(ignorePresent)
    // Whoever made it may not have come so far: another upload, or a process that was killed.
    await this.#syncFolder(above)
    this.#durableFolders.add(folder)
  }

  async #syncFolder(path: string): Promise<void> {
    try {
      await syncFolder(path)
    } catch (error) {
      this.#syncFailure = error
      throw error
    }
  }

  #uploadPath(id: string): string {
    return join(this.#uploads, id)
  }

  #blobPath(digest: Digest): string {
    return blobFile(this.#blobs, digest)
  }
}

/** Where the content of a digest is in the folder of all blobs. */
export function blobFile(blobs: string, digest: Digest): string {
  const hex = digestHex(digest)
  return join(blobs, digestAlgorithm(digest), hex.slice(0, 2), hex)
}

/** Without the time of the last change of its status, which a rename changes too: another push of the same content. */
function identityOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs}`
}

async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(ignoreAbsent)
  return status?.size
}

function ignorePresent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined
  throw error
}
