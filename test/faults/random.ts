import { randomInt } from 'node:crypto'

/** Choices that come out the same for the same seed. */
export interface Random {
  /** A whole number from `min` up to and including `max`. */
  integer(min: number, max: number): number
  /** The same, where each doubling is as likely as the next: most are small, some are large. */
  size(min: number, max: number): number
  pick<Item>(items: readonly Item[]): Item
}

/** The seed of this run: `ENTREPOT_FAULT_SEED`, or a new one. */
export function readSeed(): number {
  const given = process.env.ENTREPOT_FAULT_SEED
  return given === undefined ? randomInt(2 ** 31) : Number(given)
}

/** Tommy Ettinger's mulberry32: enough to choose sizes and moments. */
export function createRandom(seed: number): Random {
  let state = seed
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const integer = (min: number, max: number) => min + Math.floor(fraction() * (max - min + 1))
  return {
    integer,
    size: (min, max) => Math.round(min * (max / min) ** fraction()),
    pick: (items) => {
      const item = items[integer(0, items.length - 1)]
      if (item === undefined) throw new Error('there is nothing to choose from')
      return item
    },
  }
}
