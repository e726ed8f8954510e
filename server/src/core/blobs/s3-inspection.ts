import { createHash } from 'node:crypto'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { type Bucket, ObjectReader, ObjectStoreError, type ReadObject } from '#platform/s3'
import { digestOf } from './content-hash.ts'
import { type ContentInspector, type ContentState, type InspectionOptions, ReadingPace } from './content-inspection.ts'
import { findObject, type NamedObject } from './s3-markers.ts'

const READ_SIZE_BYTES = 1024 * 1024
/** Content that is replaced again and again while it is read is looked at so often. */
const MAX_LOOKS = 10

/** Reads and hashes what is in a bucket, several contents at once: most of the time is spent on waiting for the store. */
export class S3Inspector implements ContentInspector {
  readonly width = 16
  readonly #bucket: Bucket
  readonly #pace: ReadingPace

  constructor(bucket: Bucket, options: InspectionOptions) {
    this.#bucket = bucket
    this.#pace = new ReadingPace(options)
  }

  async look(digest: Digest, sizeBytes: number, isHashed: boolean): Promise<ContentState> {
    const outcome = await this.#reading(digest, async ({ marker, ...object }): Promise<ContentState> => {
      const isAsExpected = object.sizeBytes === sizeBytes
      if ((isHashed || !isAsExpected) && (await this.#hash(object, digest)) !== digest) {
        return { kind: 'damaged', sizeBytes: object.sizeBytes }
      }
      if (!isAsExpected) return { kind: 'other-size', sizeBytes: object.sizeBytes }
      return marker.sizeBytes === sizeBytes ? { kind: 'whole' } : { kind: 'misnamed', name: marker.name, sizeBytes }
    })
    if (outcome === undefined) return { kind: 'absent' }
    return outcome instanceof ObjectStoreError ? { kind: 'unreadable', reason: outcome.message } : outcome
  }

  async read(digest: Digest, maxBytes: number): Promise<Buffer | undefined> {
    const outcome = await this.#reading(digest, async (object) => {
      if (object.sizeBytes > maxBytes) return undefined
      const bytes = Buffer.alloc(object.sizeBytes)
      await this.#readInto(object, bytes)
      return digestOf(digestAlgorithm(digest), bytes) === digest ? bytes : undefined
    })
    return outcome instanceof ObjectStoreError ? undefined : outcome
  }

  /**
   * Does work on the object of a digest, again when that was replaced meanwhile.
   * @returns undefined where there is none, and the error of one that the store cannot give.
   * @throws ObjectStoreError when the store itself does not answer.
   */
  async #reading<Outcome>(
    digest: Digest,
    work: (object: NamedObject) => Promise<Outcome>,
  ): Promise<Outcome | ObjectStoreError | undefined> {
    for (let look = 0; look < MAX_LOOKS; look++) {
      const object = await findObject(this.#bucket, digest)
      if (object === undefined) return undefined
      try {
        return await work(object)
      } catch (error) {
        if (!(error instanceof ObjectStoreError)) throw error
        if (error.isGone) continue
        await this.#bucket.verify()
        return error
      }
    }
    return undefined
  }

  async #hash(object: ReadObject, digest: Digest): Promise<string> {
    const algorithm = digestAlgorithm(digest)
    const hash = createHash(algorithm)
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE_BYTES, object.sizeBytes))
    await this.#readInto(object, buffer, async (bytes) => {
      hash.update(bytes)
      await this.#pace.count(bytes.byteLength)
    })
    return `${algorithm}:${hash.digest('hex')}`
  }

  /** Reads all of an object, filling the buffer again and again; `take` is given what each time has brought. */
  async #readInto(object: ReadObject, buffer: Buffer, take?: (bytes: Buffer) => Promise<void>): Promise<void> {
    const reader = new ObjectReader(this.#bucket, object)
    try {
      for (let position = 0; position < object.sizeBytes;) {
        const length = await reader.read(buffer, position)
        await take?.(buffer.subarray(0, length))
        position += length
      }
    } finally {
      reader.close()
    }
  }
}
