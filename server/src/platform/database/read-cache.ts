import { LRUCache } from 'lru-cache'
import type { Database } from './database.ts'

/** Some tens of bytes each: what a busy registry is asked for in a while fits; what was used last stays. */
const MAX_REMEMBERED = 20_000
/** No value takes more of the bytes than one part in so many. */
const SHARES = 4

/** How many bytes the values may take together, where they are large. */
interface ByteBound<Value> {
  readonly bytes: number
  readonly sizeOf: (value: Value) => number
}

/**
 * Remembers what was read from the database until anything is written to it. What it gives is what a read would give:
 * the version is looked at before the read, so that nothing read earlier outlives a commit.
 */
export class ReadCache<Value extends object> {
  readonly #database: Database
  readonly #entries: LRUCache<string, Value>
  readonly #reading = new Map<string, Promise<Value | undefined>>()
  #version = -1

  constructor(database: Database, bound?: ByteBound<Value>) {
    this.#database = database
    this.#entries = new LRUCache({
      max: MAX_REMEMBERED,
      ...(bound && {
        maxSize: bound.bytes,
        maxEntrySize: bound.bytes / SHARES,
        sizeCalculation: (value, key) => bound.sizeOf(value) + key.length,
      }),
    })
  }

  /**
   * What `read` gives for the key. Nothing is remembered of what it does not find. Those who ask while it reads wait for
   * the same answer.
   */
  get(key: string, read: () => Promise<Value>): Promise<Value>
  get(key: string, read: () => Promise<Value | undefined>): Promise<Value | undefined>
  async get(key: string, read: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const { version } = this.#database
    if (version !== this.#version) {
      this.#entries.clear()
      this.#reading.clear()
      this.#version = version
    }
    const known = this.#entries.get(key) ?? this.#reading.get(key)
    if (known !== undefined) return known
    const reading = this.#read(key, read, version)
    this.#reading.set(key, reading)
    return reading
  }

  async #read(key: string, read: () => Promise<Value | undefined>, version: number): Promise<Value | undefined> {
    try {
      const value = await read()
      if (value !== undefined && version === this.#database.version) this.#entries.set(key, value)
      return value
    } finally {
      // After a commit others may be reading under the key.
      if (version === this.#version) this.#reading.delete(key)
    }
  }
}
