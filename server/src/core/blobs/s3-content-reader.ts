import { type Bucket, ObjectReader, ObjectStoreError, type ReadObject } from '#platform/s3'

/** Reads content wherever it is: when its object goes because others stored it again, it goes on in the next one. */
export class S3ContentReader {
  readonly #bucket: Bucket
  readonly #findNext: (gone: ReadObject) => Promise<ReadObject | undefined>
  #object: ReadObject
  #reader: ObjectReader

  /** @param findNext gives an object with the same content; never one that it was told has gone. */
  constructor(bucket: Bucket, object: ReadObject, findNext: (gone: ReadObject) => Promise<ReadObject | undefined>) {
    this.#bucket = bucket
    this.#object = object
    this.#reader = new ObjectReader(bucket, object)
    this.#findNext = findNext
  }

  /** As `ObjectReader.read`. */
  async read(target: Uint8Array, position: number, end?: number): Promise<number> {
    while (true) {
      try {
        return await this.#reader.read(target, position, end)
      } catch (error) {
        const next = error instanceof ObjectStoreError && error.isGone ? await this.#findNext(this.#object) : undefined
        if (next === undefined) throw error
        this.#object = next
        this.#reader = new ObjectReader(this.#bucket, next)
      }
    }
  }

  /** Lets go of the answer on its way. */
  close(): void {
    this.#reader.close()
  }
}
