/** How long fault tests go on: `npm test` takes the quick tier, `npm run test:faults` "ci", `npm run test:release` "release". */
export type Tier = 'quick' | 'ci' | 'release'

export const TIER: Tier =
  process.env['ENTREPOT_FAULT_TIER'] === 'ci' || process.env['ENTREPOT_FAULT_TIER'] === 'release'
    ? process.env['ENTREPOT_FAULT_TIER']
    : 'quick'

/** The number for the tier of this run. */
export function byTier(numbers: Readonly<Record<Tier, number>>): number {
  return numbers[TIER]
}
