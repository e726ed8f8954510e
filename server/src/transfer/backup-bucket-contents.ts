import { type Digest, isDigest } from '@entrepot/oci'
import { blobFile, type Content, type ContentComparison, type ContentSource, type ContentTarget } from '#core/blobs'
import { type Bucket, ObjectReader, ObjectWriter, PartBudget } from '#platform/s3'

const FOLDER = 'blobs/'
/** A store takes so many parts of an object at most (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). */
const MAX_PARTS = 9_000
const MIB = 1024 * 1024

/** Content of backups in a bucket: an object under its digest is there only when its bytes are right. */
export class BucketContents implements ContentSource, ContentTarget {
  readonly #bucket: Bucket
  readonly #budget: PartBudget

  constructor(bucket: Bucket) {
    this.#bucket = bucket
    this.#budget = new PartBudget(bucket.partBytes)
  }

  /** One request for a thousand objects between the first and the last one. */
  async sizes(digests: readonly Digest[]): Promise<Map<Digest, number>> {
    const sizes = new Map<Digest, number>()
    const [first, last] = [digests[0], digests.at(-1)]
    if (first === undefined || last === undefined) return sizes
    const asked = new Set(digests)
    const end = keyOf(last)
    for await (const { key, sizeBytes } of this.#bucket.list(FOLDER, keyOf(first).slice(0, -1))) {
      if (key > end) break
      const digest = digestIn(key)
      if (digest !== undefined && asked.has(digest)) sizes.set(digest, sizeBytes)
    }
    return sizes
  }

  async write(
    { digest, sizeBytes }: Content,
    chunks: AsyncIterable<Uint8Array>,
    comparison: ContentComparison,
  ): Promise<boolean> {
    const writer = new ObjectWriter(this.#bucket, keyOf(digest), this.#budgetFor(sizeBytes))
    try {
      for await (const chunk of chunks) {
        for (const bytes of await comparison.update([chunk])) await writer.add(bytes)
      }
      if (await comparison.isRight()) {
        await writer.end()
        return true
      }
    } catch (error) {
      await writer.abort().catch(() => {})
      throw error
    }
    await writer.abort()
    return false
  }

  async open(digest: Digest): ReturnType<ContentSource['open']> {
    const key = keyOf(digest)
    const object = await this.#bucket.head(key)
    if (object === undefined) return undefined
    const reader = new ObjectReader(this.#bucket, { key, ...object })
    return {
      sizeBytes: object.sizeBytes,
      read: async (target, position) => reader.read(target, position),
      close: async () => reader.close(),
    }
  }

  /** All that is there. */
  async *list(): AsyncIterable<Digest> {
    for await (const { key } of this.#bucket.list(FOLDER)) {
      const digest = digestIn(key)
      if (digest !== undefined) yield digest
    }
  }

  async remove(digests: readonly Digest[]): Promise<void> {
    await this.#bucket.delete(digests.map(keyOf))
  }

  /** Removes parts of what was never completed. */
  async removeParts(): Promise<void> {
    for await (const multipart of this.#bucket.listMultiparts(FOLDER, Date.now())) {
      await this.#bucket.abortMultipart(multipart)
    }
  }

  /** What would have too many parts has larger ones. */
  #budgetFor(sizeBytes: number): PartBudget {
    const { partBytes } = this.#bucket
    return sizeBytes <= partBytes * MAX_PARTS
      ? this.#budget
      : new PartBudget(Math.ceil(sizeBytes / MAX_PARTS / MIB) * MIB)
  }
}

const keyOf = (digest: Digest) => blobFile(FOLDER, digest)

function digestIn(key: string): Digest | undefined {
  const [, algorithm, , hex] = key.split('/')
  const digest = `${algorithm ?? ''}:${hex ?? ''}`
  return isDigest(digest) && keyOf(digest) === key ? digest : undefined
}
