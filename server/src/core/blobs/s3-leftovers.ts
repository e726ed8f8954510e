import type { Bucket } from '#platform/s3'
import { checkFolder, objectKey, parseMarker, parseSegment } from './s3-names.ts'
import type { LeftoverOptions } from './store.ts'

/**
 * The names, in the order in which an object passes from one to the next: a listing that comes too late for one is not
 * too early for the other.
 */
const NAMES = ['uploads/', 'digests/', 'quarantine/']
/** So many digits of an object's id fit into a number. Two objects that share them only keep each other. */
const ID_DIGITS = 12

/**
 * Aborts multipart uploads that were begun before a time, and removes objects that were written before it and have no
 * name: what a crash or a failing store has left. It takes about 40 bytes of memory for each object in the bucket.
 * @returns the keys
 */
export async function removeS3Leftovers(bucket: Bucket, options: LeftoverOptions): Promise<string[]> {
  const { before, isDryRun, isEnding } = options
  const removed: string[] = []
  for await (const multipart of bucket.listMultiparts(objectKey(''), before)) {
    if (isEnding()) return removed
    removed.push(multipart.key)
    if (!isDryRun) await bucket.abortMultipart(multipart)
  }
  const unnamed = await findUnnamed(bucket, options)
  for await (const { key, modifiedAt } of bucket.list(checkFolder)) if (modifiedAt < before) unnamed.add(key)
  if (isEnding()) return removed
  if (!isDryRun) await bucket.delete([...unnamed])
  return [...removed, ...unnamed]
}

async function findUnnamed(bucket: Bucket, { before, isEnding }: LeftoverOptions): Promise<Set<string>> {
  const named = new Set<number>()
  for await (const object of listNamed(bucket, isEnding)) named.add(numberOf(object))
  const unnamed = new Set<string>()
  for await (const { key, modifiedAt } of bucket.list(objectKey(''))) {
    if (isEnding()) return unnamed
    if (modifiedAt < before && !named.has(numberOf(key))) unnamed.add(key)
  }
  if (unnamed.size === 0) return unnamed
  // What got its name after it was looked for above.
  for await (const object of listNamed(bucket, isEnding)) unnamed.delete(object)
  return unnamed
}

/** The keys of all objects that have a name. */
async function* listNamed(bucket: Bucket, isEnding: () => boolean): AsyncIterable<string> {
  for (const folder of NAMES) {
    for await (const { key } of bucket.list(folder)) {
      if (isEnding()) return
      const name = parseSegment(key) ?? parseMarker(key)
      if (name !== undefined) yield name.object
    }
  }
}

function numberOf(key: string): number {
  const id = key.slice(objectKey('').length).replaceAll('-', '')
  return Number.parseInt(id.slice(0, ID_DIGITS), 16)
}
