import { randomUUID } from 'node:crypto'
import { type Bucket, composeObject, ObjectStoreError, ObjectWriter, PartBudget, readObject } from '#platform/s3'
import { freeChunk } from './free-chunk.ts'
import { objectKey, parseSegment, type Segment, segmentName, uploadFolder } from './s3-names.ts'
import type { Hashing, StoredUpload } from './store.ts'

/** What goes through the hash at once: chunks from the network are small. */
const HASHED_BYTES = 256 * 1024

/**
 * Bytes of uploads in a bucket. Each request that brings some writes an object, and then a name that says where in the
 * upload they are: what has a name is durable, and any instance can read it. Parts of a multipart upload that is not
 * complete cannot be read, so that none is left open between requests.
 */
export class S3Uploads {
  readonly #bucket: Bucket
  readonly #budget: PartBudget

  constructor(bucket: Bucket) {
    this.#bucket = bucket
    this.#budget = new PartBudget(bucket.partBytes)
  }

  /** As `BlobStore.appendUpload`. */
  async append(id: string, offset: number, chunks: AsyncIterable<Uint8Array>, hash?: Hashing): Promise<number> {
    const writing = new SegmentWriter(this.#bucket, this.#budget, { uploadId: id, offset })
    try {
      const gathered = new GatheredChunks(writing, hash)
      try {
        for await (const chunk of chunks) {
          const room = gathered.add(chunk)
          if (room !== undefined) await room
        }
      } finally {
        // When the client goes away, what it has sent is kept.
        await gathered.end()
        const segments = await writing.end()
        if (segments.length > 0) await this.#name(id, segments)
      }
      return offset + writing.sizeBytes
    } catch (error) {
      if (error instanceof ObjectStoreError) await writing.abort().catch(() => {})
      throw error
    }
  }

  /**
   * What an upload consists of, in order. What was joined already is not told a second time.
   * @throws ObjectStoreError while two requests have written the same bytes.
   */
  async segments(id: string): Promise<Segment[]> {
    const segments: Segment[] = []
    let end = 0
    for (const segment of (await this.#list(id)).toSorted(inOrder)) {
      if (segment.offset > end) break
      const isJoined = segment.offset + segment.sizeBytes <= end
      if (segment.offset < end && !isJoined) throw this.#collision(id)
      if (isJoined) continue
      segments.push(segment)
      end += segment.sizeBytes
    }
    return segments
  }

  /** Makes one object of an upload. @returns the upload's segment; undefined where there are no bytes. */
  async join(id: string): Promise<Segment | undefined> {
    const segments = await this.segments(id)
    const [only, ...more] = segments
    if (more.length === 0) return only
    const objectId = randomUUID()
    const sizeBytes = segments.reduce((sum, segment) => sum + segment.sizeBytes, 0)
    const pieces = segments.map((segment) => ({ key: segment.object, start: 0, sizeBytes: segment.sizeBytes }))
    await composeObject(this.#bucket, objectKey(objectId), pieces)
    const name = segmentName({ uploadId: id, offset: 0, sizeBytes, objectId })
    await this.#bucket.put(name, new Uint8Array())
    await this.#delete(segments)
    return { name, uploadId: id, offset: 0, sizeBytes, object: objectKey(objectId) }
  }

  /** The bytes of segments. */
  async *read(segments: readonly Segment[]): AsyncIterable<Uint8Array> {
    for (const { object: key, sizeBytes } of segments) yield* readObject(this.#bucket, { key, sizeBytes, etag: '' })
  }

  /** As `BlobStore.truncateUpload`. */
  async truncate(id: string, size: number): Promise<void> {
    const gone = (await this.#list(id)).filter((segment) => segment.offset + segment.sizeBytes > size)
    for (const { object: key, offset } of gone) {
      if (offset >= size) continue
      const [objectId, sizeBytes] = [randomUUID(), size - offset]
      await composeObject(this.#bucket, objectKey(objectId), [{ key, start: 0, sizeBytes }])
      await this.#bucket.put(segmentName({ uploadId: id, offset, sizeBytes, objectId }), new Uint8Array())
    }
    await this.#delete(gone)
  }

  /** Forgets an upload and its bytes. */
  async remove(id: string): Promise<void> {
    await this.#delete(await this.#list(id))
  }

  /** As `BlobStore.listUploads`. */
  async *list(): AsyncIterable<StoredUpload> {
    let last: StoredUpload | undefined
    for await (const { key, modifiedAt } of this.#bucket.list(uploadFolder('').slice(0, -1))) {
      const segment = parseSegment(key)
      if (segment === undefined) continue
      const id = segment.uploadId
      if (last !== undefined && last.id !== id) yield last
      last = { id, modifiedAt: Math.max(modifiedAt, last?.id === id ? last.modifiedAt : 0) }
    }
    if (last !== undefined) yield last
  }

  /** Writes an object without bytes; gives its key. */
  async writeEmpty(): Promise<string> {
    const key = objectKey(randomUUID())
    await this.#bucket.put(key, new Uint8Array())
    return key
  }

  /** Gives segments their names, unless another request has written at the same place, as on another instance. */
  async #name(id: string, segments: readonly Segment[]): Promise<void> {
    try {
      for (const { name } of segments) await this.#bucket.put(name, new Uint8Array())
      const [first] = segments
      const names = new Set(segments.map(({ name }) => name))
      const isAlone = (await this.#list(id)).every(
        (other) => names.has(other.name) || other.offset + other.sizeBytes <= (first?.offset ?? 0),
      )
      if (!isAlone) throw this.#collision(id)
    } catch (error) {
      await this.#delete(segments)
      throw error
    }
  }

  async #list(id: string): Promise<Segment[]> {
    const names = await Array.fromAsync(this.#bucket.list(uploadFolder(id)), ({ key }) => parseSegment(key))
    return names.filter((segment) => segment !== undefined)
  }

  async #delete(segments: readonly Segment[]): Promise<void> {
    await this.#bucket.delete(segments.flatMap(({ name, object }) => [name, object]))
  }

  #collision(id: string): ObjectStoreError {
    return new ObjectStoreError(this.#bucket.name, new Error(`two requests write to the upload ${id} at once`))
  }
}

/** Writes what one request brings: one object, or several where one would be too large. */
class SegmentWriter {
  readonly #bucket: Bucket
  readonly #budget: PartBudget
  readonly #uploadId: string
  readonly #written: Segment[] = []
  #offset: number
  #sizeBytes = 0
  #current: { readonly objectId: string; readonly writer: ObjectWriter } | undefined

  constructor(bucket: Bucket, budget: PartBudget, place: { uploadId: string; offset: number }) {
    this.#bucket = bucket
    this.#budget = budget
    this.#uploadId = place.uploadId
    this.#offset = place.offset
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  async add(bytes: Uint8Array): Promise<void> {
    if (this.#current?.writer.isFull === true) await this.end()
    const objectId = randomUUID()
    this.#current ??= { objectId, writer: new ObjectWriter(this.#bucket, objectKey(objectId), this.#budget) }
    this.#sizeBytes += bytes.byteLength
    await this.#current.writer.add(bytes)
  }

  /** Everything that was written, durably. */
  async end(): Promise<readonly Segment[]> {
    if (this.#current === undefined) return this.#written
    const { objectId, writer } = this.#current
    await writer.end()
    const { sizeBytes } = writer
    const uploadId = this.#uploadId
    const name = segmentName({ uploadId, offset: this.#offset, sizeBytes, objectId })
    this.#written.push({ name, uploadId, offset: this.#offset, sizeBytes, object: objectKey(objectId) })
    this.#offset += sizeBytes
    this.#current = undefined
    return this.#written
  }

  async abort(): Promise<void> {
    await this.#current?.writer.abort()
    await this.#bucket.delete(this.#written.map(({ object }) => object))
  }
}

/** Lets chunks pass through the hash many at once; meanwhile the next ones are received. */
class GatheredChunks {
  readonly #writing: SegmentWriter
  readonly #hash: Hashing | undefined
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  #passing: Promise<void> = Promise.resolve()

  constructor(writing: SegmentWriter, hash: Hashing | undefined) {
    this.#writing = writing
    this.#hash = hash
  }

  /** @returns what to wait for before the next one, if anything. */
  add(chunk: Uint8Array): Promise<void> | undefined {
    if (chunk.byteLength === 0) return undefined
    this.#gathered.push(chunk)
    this.#gatheredBytes += chunk.byteLength
    return this.#gatheredBytes >= HASHED_BYTES ? this.#flush() : undefined
  }

  /** @throws the first failure. */
  async end(): Promise<void> {
    await this.#flush()
    await this.#passing
  }

  async #flush(): Promise<void> {
    const chunks = this.#gathered
    this.#gathered = []
    this.#gatheredBytes = 0
    await this.#passing
    if (chunks.length === 0) return
    this.#passing = this.#pass(chunks)
    // Whoever adds or ends next hears of it.
    this.#passing.catch(() => {})
  }

  async #pass(chunks: readonly Uint8Array[]): Promise<void> {
    const passed = this.#hash === undefined ? chunks : await this.#hash.update(chunks)
    for (const bytes of passed) {
      await this.#writing.add(bytes)
      freeChunk(bytes)
    }
  }
}

/** By their offset; of those with the same one, the longest comes first: it was made of the others. */
function inOrder(one: Segment, other: Segment): number {
  return one.offset - other.offset || other.sizeBytes - one.sizeBytes
}
