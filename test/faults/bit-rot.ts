import { createCipheriv, createHash } from 'node:crypto'
import { open, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '../random.ts'

const PAGE_BYTES = 4096

/** Bytes that follow from a seed, as fast as they can be encrypted. */
export function seededBytes(seed: string, sizeBytes: number): Buffer {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes))
}

/** The file of content in a data folder. */
export function fileOf(dataDirectory: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(dataDirectory, 'blobs', algorithm, hex.slice(0, 2), hex)
}

/** What a disk, or a person, does to a file; none leaves the bytes as they were. */
export const DECAYS: Readonly<Record<string, (file: string, random: Random) => Promise<void>>> = {
  flipped: async (file, random) => {
    const at = random.below((await readFile(file)).length)
    await overwrite(file, at, (bytes) => bytes.map((byte) => byte ^ (1 << random.below(8))), 1)
  },
  truncated: async (file, random) => truncate(file, random.below((await readFile(file)).length)),
  zeroed: async (file, random) => {
    const start = random.below((await readFile(file)).length)
    await overwrite(file, start, (bytes) => bytes.fill(0), PAGE_BYTES)
  },
  swapped: async (file) => {
    const other = `${file}.other`
    await writeFile(other, seededBytes(file, (await readFile(file)).length))
    await rename(other, file)
  },
  deleted: async (file) => rm(file),
}

async function overwrite(file: string, at: number, change: (bytes: Buffer) => Uint8Array, length: number) {
  const handle = await open(file, 'r+')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at)
    const before = Buffer.from(buffer.subarray(0, bytesRead))
    const after = change(buffer.subarray(0, bytesRead))
    // A zero that was one already is no decay.
    await handle.write(before.equals(after) ? Buffer.alloc(1, 1) : after, 0, undefined, at)
  } finally {
    await handle.close()
  }
}
