import { readFileSync } from 'node:fs'
import type { z } from 'zod'
import { getIn, normalizeDocument, parseConfigText } from './document.ts'
import { s3 } from './s3-schema.ts'

/** Where a registry of CNCF distribution keeps everything. */
export type DistributionStorage = { readonly folder: string } | { readonly s3: z.output<typeof s3> }

/**
 * Reads out of a configuration of CNCF distribution where it keeps everything; nothing else in it matters, nor do
 * variables of the environment.
 * @throws Error that says what is missing or wrong
 */
export function readDistributionStorage(file: string): DistributionStorage {
  const { document } = parseConfigText(readFileSync(file, 'utf8'), file)
  normalizeDocument(document)
  const bucket = getIn(document, ['storage', 's3'])
  if (typeof bucket === 'object' && bucket !== null) {
    // Keys that only say how distribution writes are of no matter.
    const known = Object.entries(bucket).filter(([key, value]) => Object.hasOwn(s3.shape, key) && value !== null)
    const parsed = s3.safeParse({ region: 'us-east-1', ...Object.fromEntries(known), chunksize: undefined })
    if (parsed.success) return { s3: parsed.data }
    const keys = parsed.error.issues.map(({ path }) => `storage.s3.${path.map(String).join('.')}`)
    throw new Error(`${file}: what ${keys.join(', ')} says cannot be used`)
  }
  const folder = getIn(document, ['storage', 'filesystem', 'rootdirectory'])
  if (typeof folder === 'string') return { folder }
  throw new Error(`${file} names neither "storage.s3" nor "storage.filesystem.rootdirectory": name the folder itself`)
}
