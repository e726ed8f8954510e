import { createHash } from 'node:crypto'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { type Bucket, type ObjectInfo, ObjectReader, ObjectStoreError, type ReadObject } from '#platform/s3'
import { digestOf } from './content-hash.ts'
import { type ContentInspector, type ContentState, type InspectionOptions, ReadingPace } from './content-inspection.ts'
import { findObject, type NamedObject } from './s3-markers.ts'
import { type Marker, markerFolder, parseMarker } from './s3-names.ts'

const READ_SIZE_BYTES = 1024 * 1024
/** Content that is replaced again and again while it is read is looked at so often. */
const MAX_LOOKS = 10

/** Reads and hashes what is in a bucket, several contents at once: most of the time is spent on waiting for the store. */
export class S3Inspector implements ContentInspector {
  readonly width = 16
  readonly isOrdered = true
  readonly #bucket: Bucket
  readonly #pace: ReadingPace
  readonly #walk: MarkerWalk

  constructor(bucket: Bucket, options: InspectionOptions) {
    this.#bucket = bucket
    this.#pace = new ReadingPace(options)
    this.#walk = new MarkerWalk(bucket)
  }

  async look(digest: Digest, sizeBytes: number, isHashed: boolean): Promise<ContentState> {
    const listed = await this.#findListed(digest)
    const outcome = await this.#reading(digest, listed, async ({ marker, ...object }): Promise<ContentState> => {
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
    const outcome = await this.#reading(digest, undefined, async (object) => {
      if (object.sizeBytes > maxBytes) return undefined
      const bytes = Buffer.alloc(object.sizeBytes)
      await this.#readInto(object, bytes)
      return digestOf(digestAlgorithm(digest), bytes) === digest ? bytes : undefined
    })
    return outcome instanceof ObjectStoreError ? undefined : outcome
  }

  /**
   * Does work on the object of a digest, again when that was replaced meanwhile.
   * @param listed where it is, as far as that is known already.
   * @returns undefined where there is none, and the error of one that the store cannot give.
   * @throws ObjectStoreError when the store itself does not answer.
   */
  async #reading<Outcome>(
    digest: Digest,
    listed: NamedObject | undefined,
    work: (object: NamedObject) => Promise<Outcome>,
  ): Promise<Outcome | ObjectStoreError | undefined> {
    for (let look = 0; look < MAX_LOOKS; look++) {
      const object = (look === 0 ? listed : undefined) ?? (await findObject(this.#bucket, digest))
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

  /** Where content is that has its one name among those that the bucket lists now. */
  async #findListed(digest: Digest): Promise<NamedObject | undefined> {
    const marker = await this.#walk.find(digest)
    if (marker === undefined) return undefined
    const object = await this.#bucket.head(marker.object)
    if (object === undefined || object.sizeBytes !== marker.sizeBytes) return undefined
    return { marker, key: marker.object, ...object }
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

/** Goes through the names of digests as far as digests are asked for, in their order: a page of names serves many. */
class MarkerWalk {
  readonly #names: AsyncIterator<ObjectInfo>
  #turn: Promise<unknown> = Promise.resolve()
  #next: ObjectInfo | undefined
  #isBegun = false

  constructor(bucket: Bucket) {
    this.#names = bucket.list('digests/')[Symbol.asyncIterator]()
  }

  /** The name of a digest; undefined where it has none or several, and where a later digest was asked for before. */
  async find(digest: Digest): Promise<Marker | undefined> {
    const found = this.#turn.then(async () => this.#advanceTo(markerFolder(digest)))
    this.#turn = found.catch(() => {})
    return found
  }

  async #advanceTo(folder: string): Promise<Marker | undefined> {
    while (!this.#isBegun || (this.#next !== undefined && this.#next.key < folder)) {
      this.#isBegun = true
      await this.#step()
    }
    const markers: (Marker | undefined)[] = []
    while (this.#next?.key.startsWith(folder) === true) {
      markers.push(parseMarker(this.#next.key))
      await this.#step()
    }
    return markers.length === 1 ? markers[0] : undefined
  }

  async #step(): Promise<void> {
    const { done, value } = await this.#names.next()
    this.#next = done === true ? undefined : value
  }
}
