import { LRUCache } from 'lru-cache'
import type { Database } from './database.ts'

/** Some tens of bytes each: what a busy registry is asked for in a while fits; what was used last stays. */
const MAX_REMEMBERED = 20_000

/**
 * Remembers what was read from the database until anything is written to it. What it gives is what a read would give:
 * the version is looked at before the read, so that nothing read earlier outlives a commit.
 */
export class ReadCache<Value extends object> {
  readonly #database: Database
  readonly #entries: LRUCache<string, Value>
  #version = -1

  constructor(database: Database) {
    this.#database = database
    this.#entries = new LRUCache({ max: MAX_REMEMBERED })
  }

  /** What `read` gives for the key. Nothing is remembered of what it does not find. */
  async get(key: string, read: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const { version } = this.#database
    if (version !== this.#version) {
      this.#entries.clear()
      this.#version = version
    }
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const value = await read()
    if (value !== undefined && version === this.#database.version) this.#entries.set(key, value)
    return value
  }
}
