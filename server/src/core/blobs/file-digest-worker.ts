import { createHash, type Hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { parentPort } from 'node:worker_threads'
import type { FileDigestAnswer, FileDigestOrder } from './file-digest.ts'

/** What is read and hashed of one file before the next one has its turn, so that small ones need not wait for large. */
const TURN_BYTES = 4 * 1024 * 1024
const READ_BYTES = 256 * 1024

const memory = Buffer.allocUnsafeSlow(READ_BYTES)

async function digest({ key, descriptor, sizeBytes, algorithm }: FileDigestOrder): Promise<FileDigestAnswer> {
  const hash = createHash(algorithm)
  try {
    for (let start = 0; start < sizeBytes; start += TURN_BYTES) {
      takeTurn(hash, descriptor, { start, end: Math.min(sizeBytes, start + TURN_BYTES) })
      await setImmediate()
    }
    return { key, hex: hash.digest('hex'), failure: undefined }
  } catch (error) {
    // A message to another thread carries no fields of an error but its text.
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    return { key, hex: '', failure: { code, message: String(error) } }
  }
}

/** What the file lacks is not hashed either: the digest then is another one. */
function takeTurn(hash: Hash, descriptor: number, { start, end }: { start: number; end: number }): void {
  let position = start
  while (position < end) {
    const length = readSync(descriptor, memory, 0, Math.min(READ_BYTES, end - position), position)
    if (length === 0) return
    hash.update(memory.subarray(0, length))
    position += length
  }
}

parentPort?.on('message', async (order: FileDigestOrder) => parentPort?.postMessage(await digest(order)))
