import type { CaseResult } from '../rounds.ts'
import type { KindName } from '../servers/kinds.ts'
import { type Advantage, advantage, median, type Unit } from './statistics.ts'

/** Differences of less than a quarter are not shown by a machine whose single values differ by a factor of two. */
const NOISE = 0.8

/** One unit of one case: the medians of all servers, and how Entrepot stands to each peer. */
export interface ComparisonRow {
  readonly label: string
  readonly unit: Unit
  readonly remark: string | undefined
  readonly medians: ReadonlyMap<KindName, number>
  readonly advantages: ReadonlyMap<KindName, Advantage>
  /** Servers that answered wrongly or not at all. */
  readonly failed: ReadonlySet<KindName>
}

/** A row in which Entrepot is behind a peer. */
export interface Deficit {
  readonly row: ComparisonRow
  readonly peer: KindName
  readonly advantage: Advantage
  readonly isWithinNoise: boolean
}

/** Turns the readings of the rounds into rows, one for each unit that a case was read in. */
export function compare(results: readonly CaseResult[]): readonly ComparisonRow[] {
  return results.flatMap((result) => unitsOf(result).map((unit) => compareUnit(result, unit)))
}

/** Every row and peer with a ratio below 1, the worst first. */
export function deficitsOf(rows: readonly ComparisonRow[]): readonly Deficit[] {
  return rows
    .flatMap((row) => [...row.advantages].map(([peer, advantage]) => ({ row, peer, advantage })))
    .filter(({ advantage }) => advantage.median < 1)
    .toSorted((a, b) => a.advantage.median - b.advantage.median)
    .map((deficit) => ({ ...deficit, isWithinNoise: deficit.advantage.median >= NOISE }))
}

function compareUnit(result: CaseResult, unit: Unit): ComparisonRow {
  const values = new Map([...result.outcomes.keys()].map((kind) => [kind, valuesOf(result, kind, unit)]))
  const ours = values.get('entrepot') ?? []
  const medians = new Map<KindName, number>()
  const advantages = new Map<KindName, Advantage>()
  const failed = new Set<KindName>()
  for (const [kind, theirs] of values) {
    if (theirs.length === 0) failed.add(kind)
    else medians.set(kind, median(theirs))
    const found = kind === 'entrepot' ? undefined : advantage(ours, theirs, unit)
    if (found !== undefined) advantages.set(kind, found)
  }
  return { label: result.label, unit, remark: result.remark, medians, advantages, failed }
}

function valuesOf({ outcomes }: CaseResult, kind: KindName, unit: Unit): readonly number[] {
  const outcome = outcomes.get(kind)
  if (outcome === undefined || 'failure' in outcome) return []
  return outcome.rounds.flatMap((readings) =>
    readings.filter((reading) => reading.unit === unit).map(({ value }) => value),
  )
}

function unitsOf({ outcomes }: CaseResult): readonly Unit[] {
  const units = [...outcomes.values()].flatMap((outcome) =>
    'failure' in outcome ? [] : outcome.rounds.flatMap((readings) => readings.map(({ unit }) => unit)),
  )
  return [...new Set(units)]
}
