import { LRUCache } from 'lru-cache'
import type { Database } from './database.ts'

/**
 * Remembers what was read from the database until anything is written to it. What it gives is what a read would give:
 * the version is looked at before the read, so that nothing read earlier outlives a commit.
 */
export class ReadCache<Value extends object> {
  readonly #database: Database
  readonly #entries: LRUCache<string, Value>
  #version = -1

  /** @param maxEntries how much is remembered; what was used last stays. */
  constructor(database: Database, maxEntries: number) {
    this.#database = database
    this.#entries = new LRUCache({ max: maxEntries })
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
