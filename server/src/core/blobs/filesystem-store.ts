import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, opendir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type Digest, digestAlgorithm, digestHex } from '@entrepot/oci'
import type { BlobStore, StoredUpload } from './store.ts'

/** Chunks from the network are small; one write for many costs far less. */
const WRITE_SIZE_BYTES = 1024 * 1024
const READ_SIZE_BYTES = 1024 * 1024

/**
 * Blobs in a folder:
 *
 *     <root>/
 *       blobs/<algorithm>/<first two digits>/<hexadecimal digest>   finished content, never changed
 *       uploads/<upload id>                                        bytes received so far
 *
 * Both lie on one file system, so that finishing an upload is a rename.
 */
export class FilesystemStore implements BlobStore {
  readonly #blobs: string
  readonly #uploads: string

  private constructor(root: string) {
    this.#blobs = join(root, 'blobs')
    this.#uploads = join(root, 'uploads')
  }

  /** Opens the store in a folder, which is created if need be, for this user alone. */
  static async open(root: string): Promise<FilesystemStore> {
    const store = new FilesystemStore(root)
    await mkdir(store.#blobs, { recursive: true, mode: 0o700 })
    await mkdir(store.#uploads, { recursive: true, mode: 0o700 })
    return store
  }

  async appendUpload(id: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const file = await open(this.#uploadPath(id), offset === 0 ? 'w' : 'r+', 0o600)
    try {
      return await appendGathered(file, offset, chunks)
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
    await truncate(this.#uploadPath(id), size)
  }

  async finishUpload(id: string, digest: Digest): Promise<void> {
    const source = this.#uploadPath(id)
    const folder = this.#blobFolder(digest)
    const file = await open(source, 'a', 0o600)
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) {
      await syncFolder(join(folder, '..'))
      await syncFolder(this.#blobs)
    }
    // Replacing content of the same digest is right: these bytes were just verified, the older ones may have decayed.
    await rename(source, join(folder, digestHex(digest)))
    await syncFolder(folder)
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

  read(digest: Digest, start: number, end: number): Readable {
    return Readable.from(readExactly(this.#blobPath(digest), start, end), { objectMode: false })
  }

  async check(): Promise<void> {
    const path = this.#uploadPath(`check-${process.pid}`)
    await writeFile(path, 'ok')
    await rm(path)
  }

  #uploadPath(id: string): string {
    return join(this.#uploads, id)
  }

  #blobFolder(digest: Digest): string {
    return join(this.#blobs, digestAlgorithm(digest), digestHex(digest).slice(0, 2))
  }

  #blobPath(digest: Digest): string {
    return join(this.#blobFolder(digest), digestHex(digest))
  }
}

async function* readExactly(path: string, start: number, end: number): AsyncIterable<Uint8Array> {
  let missingBytes = end - start + 1
  const highWaterMark = Math.min(missingBytes, READ_SIZE_BYTES)
  for await (const chunk of createReadStream(path, { start, end, highWaterMark })) {
    if (!(chunk instanceof Uint8Array)) continue
    missingBytes -= chunk.byteLength
    yield chunk
  }
  if (missingBytes > 0) throw new Error(`${path} is ${missingBytes} bytes shorter than it was`)
}

/** Writes while the next bytes are received: at most one write is on its way, and one gathering. */
async function appendGathered(file: FileHandle, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let position = offset
  let gathered: Uint8Array[] = []
  let gatheredBytes = 0
  let writing = Promise.resolve()
  const flush = async () => {
    await writing
    writing = writeAll(file, gathered, position)
    // It is awaited by the next flush; until then its failure must not count as unhandled.
    writing.catch(() => {})
    position += gatheredBytes
    gathered = []
    gatheredBytes = 0
  }
  try {
    for await (const chunk of chunks) {
      gathered.push(chunk)
      gatheredBytes += chunk.byteLength
      if (gatheredBytes >= WRITE_SIZE_BYTES) await flush()
    }
  } finally {
    await flush()
    await writing
  }
  return position
}

async function writeAll(file: FileHandle, chunks: Uint8Array[], position: number): Promise<void> {
  const total = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  if (total === 0) return
  const { bytesWritten } = await file.writev(chunks, position)
  if (bytesWritten < total) {
    // The kernel may take less, as it does when the disk fills; the next try gives the reason.
    const rest = Buffer.concat(chunks).subarray(bytesWritten)
    await writeAll(file, [rest], position + bytesWritten)
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(ignoreAbsent)
  return status?.size
}

/** Makes the names in a folder durable: without it a power cut can undo a rename (fsync(2)). */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function ignoreAbsent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
