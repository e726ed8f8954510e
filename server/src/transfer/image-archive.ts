import { createReadStream } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TarIndex } from './tar-index.ts'

const READ_SIZE_BYTES = 1024 * 1024

/** A file in an archive. */
export interface ArchivedFile {
  readonly sizeBytes: number
  bytes(): AsyncIterable<Uint8Array>
}

/** Files under names: a folder, or a tar archive of one. */
export interface ImageArchive {
  /** Undefined where there is no such file. */
  find(name: string): Promise<ArchivedFile | undefined>
  close(): Promise<void>
}

/** Opens a folder or a tar archive. @throws when there is neither. */
export async function openArchive(path: string): Promise<ImageArchive> {
  if ((await stat(path)).isDirectory()) return { find: async (name) => findIn(path, name), close: async () => {} }
  const file = await open(path)
  try {
    const index = await TarIndex.read(file)
    return {
      find: async (name) => {
        const entry = index.find(name)
        if (entry === undefined) return undefined
        return { sizeBytes: entry.sizeBytes, bytes: () => rangeOf(file, entry.offset, entry.sizeBytes) }
      },
      close: async () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw new Error(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

/** All bytes of a file; undefined where there are more than `maxBytes`. */
export async function readWhole(file: ArchivedFile, maxBytes: number): Promise<Buffer | undefined> {
  return file.sizeBytes > maxBytes ? undefined : Buffer.concat(await Array.fromAsync(file.bytes()))
}

async function findIn(folder: string, name: string): Promise<ArchivedFile | undefined> {
  const path = join(folder, name)
  const status = await stat(path).catch(() => undefined)
  if (status?.isFile() !== true) return undefined
  return { sizeBytes: status.size, bytes: () => createReadStream(path, { highWaterMark: READ_SIZE_BYTES }) }
}

async function* rangeOf(file: FileHandle, offset: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let position = 0
  while (position < sizeBytes) {
    // Another one each time: whoever takes it may free its memory.
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE_BYTES, sizeBytes - position))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset + position)
    if (bytesRead === 0) throw new Error('the archive was cut off while it was read')
    yield buffer.subarray(0, bytesRead)
    position += bytesRead
  }
}
