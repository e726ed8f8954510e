import { writev, writevSync } from 'node:fs'
import { freeChunk } from './free-chunk.ts'

/** Where in an open file bytes go. */
export interface FilePlace {
  readonly descriptor: number
  /** Of the first byte. */
  readonly position: number
}

/**
 * Writes chunks one after the other, and frees their memory.
 * @throws what the file system says when it does not take all of them.
 */
export async function writeChunks(chunks: readonly Uint8Array[], { descriptor, position }: FilePlace): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  writev(descriptor, chunks, position, (error, bytes) => (error === null ? resolve(bytes) : reject(error)))
  const written = await promise
  const rest = freeWritten(chunks, written)
  if (rest.length > 0) await writeChunks(rest, { descriptor, position: position + written })
}

/** The same in a thread, which waits for the file system. */
export function writeChunksSync(chunks: readonly Uint8Array[], { descriptor, position }: FilePlace): void {
  const written = writevSync(descriptor, chunks, position)
  const rest = freeWritten(chunks, written)
  if (rest.length > 0) writeChunksSync(rest, { descriptor, position: position + written })
}

/** @returns a copy of what the kernel did not take, as when the disk fills; the next try gives the reason. */
function freeWritten(chunks: readonly Uint8Array[], written: number): readonly Uint8Array[] {
  const total = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  const rest = written === total ? [] : [Buffer.concat(chunks).subarray(written)]
  for (const chunk of chunks) freeChunk(chunk)
  return rest
}
