import { randomUUID } from 'node:crypto'
import type { Digest, DigestAlgorithm } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'
import { type Bucket, ObjectStoreError, type ReadObject } from '#platform/s3'
import { ContentHash } from './content-hash.ts'
import { S3ContentReader } from './s3-content-reader.ts'
import { checkFolder, type Marker, markerFolder, markerTail, objectKey, type Segment } from './s3-names.ts'
import { findObject, listMarkers } from './s3-markers.ts'
import { removeS3Leftovers } from './s3-leftovers.ts'
import { S3Uploads } from './s3-uploads.ts'
import type { BlobStore, Hashing, LeftoverOptions, StoredContent, StoredUpload } from './store.ts'
import { UploadedFiles } from './uploaded-files.ts'

const READ_SIZE_BYTES = 1024 * 1024
/** Where content is, is asked again after so long; an object that has gone before sends the reader there at once. */
const REMEMBERED_MS = 60_000
const MAX_REMEMBERED = 50_000

/**
 * Blobs in a bucket:
 *
 *     objects/<object id>                                              bytes, written once and never copied
 *     uploads/<upload id>/<offset>-<size>-<object id>                  which object has an upload's bytes at an offset
 *     digests/<algorithm>/<hexadecimal digest>/<size>-<object id>      which object is the content of a digest
 *     quarantine/<algorithm>/<hexadecimal digest>/<size>-<object id>   which object was found damaged
 *
 * All but the first are empty: their names say everything. Content has one name, or for a moment, while it is stored
 * again, several.
 */
export class S3Store implements BlobStore {
  readonly #bucket: Bucket
  readonly #uploads: S3Uploads
  readonly #places = new LRUCache<Digest, ReadObject>({ max: MAX_REMEMBERED, ttl: REMEMBERED_MS })
  readonly syncFailure = undefined
  readonly adoption = new UploadedFiles(this)

  constructor(bucket: Bucket) {
    this.#bucket = bucket
    this.#uploads = new S3Uploads(bucket)
  }

  async appendUpload(id: string, offset: number, chunks: AsyncIterable<Uint8Array>, hash?: Hashing): Promise<number> {
    return this.#uploads.append(id, offset, chunks, hash)
  }

  async uploadSize(id: string): Promise<number> {
    return sizeOf(await this.#uploads.segments(id))
  }

  async *readUpload(id: string): AsyncIterable<Uint8Array> {
    yield* this.#uploads.read(await this.#uploads.segments(id))
  }

  async truncateUpload(id: string, size: number): Promise<void> {
    await this.#uploads.truncate(id, size)
  }

  async joinUpload(id: string): Promise<void> {
    await this.#uploads.join(id)
  }

  async finishUpload(id: string, digest: Digest, sizeBytes: number): Promise<void> {
    const segment = await this.#uploads.join(id)
    const size = segment?.sizeBytes ?? 0
    if (size !== sizeBytes) throw new Error(`the upload ${id} has ${size} bytes, but ${sizeBytes} were verified`)
    const key = segment?.object ?? (await this.#uploads.writeEmpty())
    const object = await this.#bucket.head(key)
    if (object?.sizeBytes !== sizeBytes) {
      throw new ObjectStoreError(
        this.#bucket.name,
        new Error(`${key} has ${object?.sizeBytes ?? 0} of ${sizeBytes} bytes`),
      )
    }
    const name = markerFolder(digest) + markerTail(sizeBytes, idOf(key))
    await this.#bucket.put(name, new Uint8Array())
    // From here on no upload names the object: whoever removes what is left of one must not remove content.
    const older = await this.#olderMarkers(digest, name)
    const names = segment === undefined ? [] : [segment.name]
    await this.#bucket.delete([...names, ...older.flatMap(keysOf)])
    if (older.some((marker) => marker.name === name)) this.#places.delete(digest)
    else this.#places.set(digest, { key, ...object })
  }

  async detachUpload(): Promise<void> {
    // Who goes on with an upload writes objects of its own; two names for the same place are refused.
  }

  async removeUpload(id: string): Promise<void> {
    await this.#uploads.remove(id)
  }

  listUploads(): AsyncIterable<StoredUpload> {
    return this.#uploads.list()
  }

  async size(digest: Digest): Promise<number | undefined> {
    return (await this.#find(digest))?.sizeBytes
  }

  async open(digest: Digest): Promise<StoredContent | undefined> {
    const place = await this.#find(digest)
    if (place === undefined) return undefined
    const reader = this.#reader(digest, place)
    return {
      sizeBytes: place.sizeBytes,
      descriptor: undefined,
      identity: `${place.key} ${place.etag}`,
      changedAt: 0,
      read: async (target, position, end) => reader.read(target, position, end),
      // Objects are never written to, and another one in its place is not read.
      isUnchanged: async () => true,
      digest: async (algorithm) => this.#digest(digest, place, algorithm),
      close: async () => reader.close(),
    }
  }

  /** The key of the content of a digest in the bucket. */
  async pathOf(digest: Digest): Promise<string | undefined> {
    const place = await this.#findNow(digest)
    return place === undefined ? undefined : this.#bucket.fullKey(place.key)
  }

  /** A URL with which anyone can read the content of a digest for so long. */
  async presign(digest: Digest, seconds: number): Promise<string | undefined> {
    const place = await this.#findNow(digest)
    return place === undefined ? undefined : this.#bucket.presign(place.key, seconds)
  }

  async prepareRemoval(digests: readonly Digest[]): Promise<(digests: readonly Digest[]) => Promise<void>> {
    const entries = digests.map(async (digest) => [digest, await listMarkers(this.#bucket, digest)] as const)
    const markers = new Map(await Promise.all(entries))
    return async (chosen) => {
      await this.#bucket.delete(chosen.flatMap((digest) => markers.get(digest) ?? []).flatMap(keysOf))
      for (const digest of chosen) this.#places.delete(digest)
    }
  }

  async removeLeftovers(options: LeftoverOptions): Promise<string[]> {
    return removeS3Leftovers(this.#bucket, options)
  }

  async quarantine(digest: Digest): Promise<void> {
    const markers = await listMarkers(this.#bucket, digest)
    if (markers.length === 0) return
    const before = await listMarkers(this.#bucket, digest, 'quarantine')
    for (const { sizeBytes, object } of markers) {
      await this.#bucket.put(markerFolder(digest, 'quarantine') + markerTail(sizeBytes, idOf(object)), new Uint8Array())
    }
    const kept = new Set(markers.map(({ object }) => object))
    await this.#bucket.delete([
      ...markers.map(({ name }) => name),
      ...before.filter(({ object }) => !kept.has(object)).flatMap(keysOf),
    ])
    this.#places.delete(digest)
  }

  async isEmpty(): Promise<boolean> {
    return !(await this.#bucket.hasAny('digests/'))
  }

  async check(): Promise<void> {
    const key = checkFolder + randomUUID()
    await this.#bucket.put(key, new Uint8Array(1))
    await this.#bucket.delete([key])
  }

  /** Where the content of a digest is: in the newest of its objects that is there in full, if any is. */
  async #find(digest: Digest): Promise<ReadObject | undefined> {
    const known = this.#places.get(digest)
    if (known !== undefined) return known
    const found = await findObject(this.#bucket, digest)
    if (found !== undefined) this.#places.set(digest, found)
    return found
  }

  /** The same for whoever is sent to the object, and cannot be told that it has gone. */
  async #findNow(digest: Digest): Promise<ReadObject | undefined> {
    const known = this.#places.get(digest)
    if (known !== undefined && (await this.#bucket.head(known.key)) === undefined) this.#places.delete(digest)
    return this.#find(digest)
  }

  #reader(digest: Digest, place: ReadObject): S3ContentReader {
    return new S3ContentReader(this.#bucket, place, async (gone) => {
      if (this.#places.get(digest)?.key === gone.key) this.#places.delete(digest)
      const next = await this.#find(digest)
      return next?.key !== gone.key && next?.sizeBytes === place.sizeBytes ? next : undefined
    })
  }

  async #digest(digest: Digest, place: ReadObject, algorithm: DigestAlgorithm): Promise<Digest> {
    const reader = this.#reader(digest, place)
    const hash = new ContentHash(algorithm)
    try {
      let chunk: Uint8Array = new Uint8Array(READ_SIZE_BYTES)
      for (let position = 0; position < place.sizeBytes;) {
        const length = await reader.read(chunk, position)
        position += length
        // The memory goes to a thread and comes back: it is filled again.
        const [same] = await hash.update([length === chunk.byteLength ? chunk : chunk.slice(0, length)])
        chunk = same ?? new Uint8Array(READ_SIZE_BYTES)
      }
      return await hash.digest()
    } finally {
      reader.close()
    }
  }

  /**
   * The names of content but for the newest. Instances that store the same content at once each take all of them away, and
   * their order is the same for all: so one name stays, whoever looks last.
   */
  async #olderMarkers(digest: Digest, name: string): Promise<Marker[]> {
    const markers = await listMarkers(this.#bucket, digest)
    return markers.some((marker) => marker.name === name) ? markers.slice(1) : []
  }
}

const keysOf = ({ name, object }: Marker): string[] => [name, object]

const idOf = (key: string): string => key.slice(objectKey('').length)

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.sizeBytes, 0)
}
