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
/** So many of these numbers are held at once, in some 80 MiB: of more objects only those with the same first digit. */
const MAX_NAMED = 2_000_000

/**
 * Aborts multipart uploads that were begun before a time, and removes objects that were written before it and have no
 * name: what a crash or a failing store has left.
 * @param maxNamed how many objects are compared at once with the names.
 * @returns the keys
 */
export async function removeS3Leftovers(
  bucket: Bucket,
  options: LeftoverOptions,
  maxNamed = MAX_NAMED,
): Promise<string[]> {
  const { before, isDryRun, isEnding } = options
  const removed: string[] = []
  for await (const multipart of bucket.listMultiparts(objectKey(''), before)) {
    if (isEnding()) return removed
    removed.push(multipart.key)
    if (!isDryRun) await bucket.abortMultipart(multipart)
  }
  const unnamed = await findUnnamed(bucket, options, { digits: '', maxNamed })
  for await (const { key, modifiedAt } of bucket.list(checkFolder)) if (modifiedAt < before) unnamed.add(key)
  if (isEnding()) return removed
  if (!isDryRun) await bucket.delete([...unnamed])
  return [...removed, ...unnamed]
}

/** Objects without a name, of those whose ids begin with some digits. */
async function findUnnamed(
  bucket: Bucket,
  options: LeftoverOptions,
  part: { digits: string; maxNamed: number },
): Promise<Set<string>> {
  const { before, isEnding } = options
  const { digits, maxNamed } = part
  const named = new Set<number>()
  for await (const object of listNamed(bucket, isEnding)) {
    if (!object.startsWith(objectKey(digits))) continue
    named.add(numberOf(object))
    if (named.size <= maxNamed) continue
    named.clear()
    const parts = Array.from({ length: 16 }, (_, digit) => ({ digits: digits + digit.toString(16), maxNamed }))
    const unnamed = new Set<string>()
    for (const part of parts) for (const key of await findUnnamed(bucket, options, part)) unnamed.add(key)
    return unnamed
  }
  const unnamed = new Set<string>()
  for await (const { key, modifiedAt } of bucket.list(objectKey(digits))) {
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
