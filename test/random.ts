import { createHash } from 'node:crypto'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
export const LOWER_ALPHANUMERIC = `${LETTERS}0123456789`
export const ALPHANUMERIC = `${LOWER_ALPHANUMERIC}${LETTERS.toUpperCase()}`
export const LOWER_HEX = '0123456789abcdef'

/** Choices that follow from a seed alone, so that whatever failed can be made again (mulberry32). */
export class Random {
  #state: number

  constructor(seed: string) {
    this.#state = createHash('sha256').update(seed).digest().readUInt32LE(0)
  }

  /** A whole number from 0 up to, but not including, `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }

  /** A whole number from `low` up to and including `high`. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** The same, where each doubling is as likely as the next: most are small, some are large. */
  size(low: number, high: number): number {
    return Math.round(low * (high / low) ** (this.below(2 ** 20) / 2 ** 20))
  }

  /** True in so many of a hundred cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('there is nothing to pick from')
    return item
  }

  /** One of the items, each as often as its weight says. */
  weighted<Item>(items: readonly (readonly [number, Item])[]): Item {
    return this.pick(items.flatMap(([weight, item]) => Array.from({ length: weight }, () => item)))
  }

  text(alphabet: string, low: number, high: number): string {
    return Array.from({ length: this.between(low, high) }, () => alphabet[this.below(alphabet.length)]).join('')
  }

  bytes(length: number): Buffer {
    return Buffer.from(Uint8Array.from({ length }, () => this.below(256)))
  }

  /** The text with something put into it at a random place. */
  insert(text: string, addition: string): string {
    const at = this.between(0, text.length)
    return text.slice(0, at) + addition + text.slice(at)
  }
}
