import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { outputOf } from '../programs.ts'
import { MIB } from '../client/payload.ts'

/** Smaller than every blob that is pushed, larger than anything else that a registry keeps. */
const LARGE_BYTES = 16 * MIB

/**
 * Removes the blobs that a push has left, straight from the disk, so that 100 GB of them need not be there at once, and
 * waits until the disk is at rest, so that one server's writes do not slow down the next one. The registry still
 * lists the blobs; nobody asks for them again.
 */
export function removeLargeFiles(folder: string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (found?.isFile() && found.size >= LARGE_BYTES) rmSync(path)
  }
  outputOf('sync', ['--file-system', folder])
}
