import type { Bucket, OpenMultipart, StoredPart } from './bucket.ts'
import { completeObject } from './complete-object.ts'

const MIB = 1024 * 1024
/** All parts but the last must have so much (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). */
const MIN_PART_BYTES = 5 * MIB
const MAX_PARTS = 10_000
/** When all writers together hold more, the next parts are the smallest that there may be, and go one after the other. */
const MAX_HELD_BYTES = 192 * MIB
/** Parts of all writers that are on their way to the store. */
const MAX_SENT_BYTES = 96 * MIB

/** Parts of one writer that are on their way at once: the store hashes each of them, and then waits for its disk. */
const PARTS_AT_ONCE = 2

/** An object that is smaller than this is gathered in a buffer of its size. */
const SMALL_BYTES = 256 * 1024
/** Buffers that are kept for the next parts: memory that is freed and taken again comes back late. */
const MAX_KEPT = 4

/** What all writers of a bucket have in common: it bounds the memory that they take, however many there are. */
export class PartBudget {
  readonly #partBytes: number
  readonly #free: Buffer[] = []
  #heldBytes = 0
  #sentBytes = 0
  readonly #waiting: (() => void)[] = []

  constructor(partBytes: number) {
    this.#partBytes = partBytes
  }

  /** How many parts a writer may have on their way. */
  get partsAtOnce(): number {
    return this.#isScarce ? 1 : PARTS_AT_ONCE
  }

  get #isScarce(): boolean {
    return this.#heldBytes > MAX_HELD_BYTES
  }

  /** A buffer for a part that has so many bytes already, and gets more. What else is in it is left over from others. */
  takeBuffer(bytes: number): Buffer {
    const size = bytes <= SMALL_BYTES ? SMALL_BYTES : this.#isScarce ? MIN_PART_BYTES : this.#partBytes
    this.#heldBytes += size
    return (size === this.#partBytes ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(size)
  }

  /** @param isIdle whether nobody can be reading it any more: then it is used again. */
  giveBack(buffer: Buffer, isIdle: boolean): void {
    this.#heldBytes -= buffer.byteLength
    if (isIdle && buffer.byteLength === this.#partBytes && this.#free.length < MAX_KEPT) this.#free.push(buffer)
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
 * Writes an object of unknown length: in one request when it fits into a part, in parts otherwise. Some parts are on their
 * way while the next one is gathered, so that a writer holds one more at most.
 */
export class ObjectWriter {
  readonly #bucket: Bucket
  readonly #key: string
  readonly #budget: PartBudget
  readonly #parts: StoredPart[] = []
  /** What is gathered, and how much of it is filled. */
  #buffer: Buffer | undefined
  #filledBytes = 0
  #multipart: OpenMultipart | undefined
  /** The parts that are on their way, the oldest first. */
  readonly #sending: Promise<void>[] = []
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

  /** Copies bytes; waits while a part must be sent first. @throws the first failure. */
  async add(bytes: Uint8Array): Promise<void> {
    for (let start = 0; start < bytes.byteLength;) {
      const buffer = this.#roomyBuffer(bytes.byteLength - start)
      const taken = bytes.subarray(start, start + buffer.byteLength - this.#filledBytes)
      buffer.set(taken, this.#filledBytes)
      start += taken.byteLength
      this.#filledBytes += taken.byteLength
      this.#sizeBytes += taken.byteLength
      if (this.#filledBytes === buffer.byteLength && buffer.byteLength > SMALL_BYTES) await this.#flush()
    }
  }

  /** Writes the rest: after that the object is there. @throws the first failure. */
  async end(): Promise<void> {
    if (this.#multipart === undefined) {
      await this.#send(async (body) => this.#bucket.put(this.#key, body))
      return
    }
    if (this.#filledBytes > 0) await this.#flush()
    await Promise.all(this.#sending)
    this.#parts.sort((one, other) => one.number - other.number)
    await completeObject(this.#bucket, this.#multipart, { parts: this.#parts, sizeBytes: this.#sizeBytes })
  }

  /** Gives up what was written. */
  async abort(): Promise<void> {
    if (this.#buffer !== undefined) this.#budget.giveBack(this.#buffer, true)
    this.#buffer = undefined
    await Promise.allSettled(this.#sending)
    if (this.#multipart !== undefined) await this.#bucket.abortMultipart(this.#multipart)
  }

  async #flush(): Promise<void> {
    while (this.#sending.length >= this.#budget.partsAtOnce) await this.#sending.shift()
    this.#multipart ??= await this.#bucket.beginMultipart(this.#key)
    const [multipart, number] = [this.#multipart, ++this.#number]
    const sending = this.#send(async (body) => {
      this.#parts.push(await this.#bucket.putPart(multipart, number, body))
    })
    // Whoever writes or ends next hears of it.
    sending.catch(() => {})
    this.#sending.push(sending)
  }

  /** Sends what is gathered. */
  async #send(work: (body: Uint8Array) => Promise<void>): Promise<void> {
    const buffer = this.#buffer ?? Buffer.alloc(0)
    const body = buffer.subarray(0, this.#filledBytes)
    this.#buffer = undefined
    this.#filledBytes = 0
    let isSent = false
    try {
      await this.#budget.send(body.byteLength, async () => work(body))
      isSent = true
    } finally {
      // A request that failed may still be on its way.
      this.#budget.giveBack(buffer, isSent)
    }
  }

  /** The buffer that is being filled, with room in it: a larger one where a small one is full. */
  #roomyBuffer(moreBytes: number): Buffer {
    const before = this.#buffer
    if (before !== undefined && this.#filledBytes < before.byteLength) return before
    const buffer = this.#budget.takeBuffer(this.#filledBytes + moreBytes)
    if (before !== undefined) {
      buffer.set(before)
      this.#budget.giveBack(before, true)
    }
    this.#buffer = buffer
    return buffer
  }
}
