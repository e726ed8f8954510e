import type { Bucket, OpenMultipart, StoredPart } from './bucket.ts'
import { ObjectStoreError } from './bucket-error.ts'

const MIB = 1024 * 1024
/** All parts but the last must have so much (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). */
const MIN_PART_BYTES = 5 * MIB
const MAX_PARTS = 10_000
/** When all writers together hold more, each sends what it has as soon as that may be a part. */
const MAX_HELD_BYTES = 192 * MIB
/** Parts of all writers that are on their way to the store. */
const MAX_SENT_BYTES = 96 * MIB

/** What all writers have in common: it bounds the memory that they take, however many there are. */
export class PartBudget {
  #heldBytes = 0
  #sentBytes = 0
  readonly #waiting: (() => void)[] = []

  /** Notes that so many bytes more, or fewer, are held; tells whether parts should be small. */
  hold(bytes: number): boolean {
    this.#heldBytes += bytes
    return this.#heldBytes > MAX_HELD_BYTES
  }

  /** Runs work that sends so many bytes, when that many may be on their way. */
  async send<Result>(bytes: number, work: () => Promise<Result>): Promise<Result> {
    while (this.#sentBytes > 0 && this.#sentBytes + bytes > MAX_SENT_BYTES) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#sentBytes += bytes
    try {
      return await work()
    } finally {
      this.#sentBytes -= bytes
      for (const proceed of this.#waiting.splice(0)) proceed()
    }
  }
}

/**
 * Writes an object of unknown length: in one request when it fits into a part, in parts otherwise. One part is on its way
 * while the next one is gathered, so that a writer holds two parts at most.
 */
export class ObjectWriter {
  readonly #bucket: Bucket
  readonly #key: string
  readonly #budget: PartBudget
  readonly #parts: StoredPart[] = []
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  #multipart: OpenMultipart | undefined
  #sending: Promise<void> = Promise.resolve()
  #number = 0
  #sizeBytes = 0

  constructor(bucket: Bucket, key: string, budget: PartBudget) {
    this.#bucket = bucket
    this.#key = key
    this.#budget = budget
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Whether the store takes no more parts: what comes next belongs into another object. */
  get isFull(): boolean {
    return this.#number >= MAX_PARTS - 1
  }

  /**
   * Takes bytes, which must not change from then on.
   * @returns what to wait for before the next ones, if anything. @throws the first failure.
   */
  add(bytes: Uint8Array): Promise<void> | undefined {
    this.#gathered.push(bytes)
    this.#gatheredBytes += bytes.byteLength
    this.#sizeBytes += bytes.byteLength
    const isShort = this.#budget.hold(bytes.byteLength)
    const limit = isShort ? Math.min(MIN_PART_BYTES, this.#bucket.partBytes) : this.#bucket.partBytes
    return this.#gatheredBytes >= limit ? this.#flush() : undefined
  }

  /** Writes the rest: after that the object is there. @throws the first failure. */
  async end(): Promise<void> {
    if (this.#multipart === undefined) {
      const body = this.#takeGathered()
      await this.#send(body, async () => this.#bucket.put(this.#key, body))
      return
    }
    if (this.#gatheredBytes > 0) await this.#flush()
    await this.#sending
    await this.#complete(this.#multipart)
  }

  /** Gives up what was written. */
  async abort(): Promise<void> {
    this.#budget.hold(-this.#gatheredBytes)
    this.#gathered = []
    this.#gatheredBytes = 0
    await this.#sending.catch(() => {})
    if (this.#multipart !== undefined) await this.#bucket.abortMultipart(this.#multipart)
  }

  /**
   * What the store answers is not believed either way: it may say that it has completed an object and not have done so
   * (API_CompleteMultipartUpload), or do it while the answer is lost. The key is of this object alone.
   */
  async #complete(multipart: OpenMultipart): Promise<void> {
    let failure: unknown
    await this.#bucket.completeMultipart(multipart, this.#parts).catch((error: unknown) => (failure = error))
    const written = await this.#bucket.head(this.#key)
    if (written?.sizeBytes === this.#sizeBytes) return
    const sizes = `${written?.sizeBytes ?? 0} bytes instead of ${this.#sizeBytes}`
    throw failure ?? new ObjectStoreError(this.#bucket.name, new Error(`it completed an object of ${sizes}`))
  }

  async #flush(): Promise<void> {
    await this.#sending
    this.#multipart ??= await this.#bucket.beginMultipart(this.#key)
    const [multipart, number, body] = [this.#multipart, ++this.#number, this.#takeGathered()]
    this.#sending = this.#send(body, async () => {
      this.#parts.push(await this.#bucket.putPart(multipart, number, body))
    })
    // Whoever writes or ends next hears of it.
    this.#sending.catch(() => {})
  }

  async #send(body: Uint8Array, work: () => Promise<void>): Promise<void> {
    try {
      await this.#budget.send(body.byteLength, work)
    } finally {
      this.#budget.hold(-body.byteLength)
    }
  }

  #takeGathered(): Uint8Array {
    const body = Buffer.concat(this.#gathered)
    this.#gathered = []
    this.#gatheredBytes = 0
    return body
  }
}
