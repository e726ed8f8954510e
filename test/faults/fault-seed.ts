import { randomInt } from 'node:crypto'
import type { TestContext } from 'node:test'

/** The seed of this run, which it prints: a number, new in each run unless ENTREPOT_FAULT_SEED gives it. */
export function faultSeed(t: TestContext): number {
  const seed = Number(process.env['ENTREPOT_FAULT_SEED'] ?? randomInt(2 ** 31))
  t.diagnostic(`ENTREPOT_FAULT_SEED=${seed}`)
  return seed
}
