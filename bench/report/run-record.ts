import type { ComparisonRow } from './comparison.ts'
import type { Options } from '../options.ts'
import type { CaseResult } from '../rounds.ts'
import type { MissingKind, ServerKind } from '../servers/kinds.ts'
import type { Advantage, Unit } from './statistics.ts'

/** Everything that a report tells about a run. */
export interface RunRecord {
  readonly startedAt: Date
  readonly minutes: number
  readonly options: Options
  /** One line each. */
  readonly machine: readonly string[]
  /** What sent the small requests, with its version. */
  readonly loadGenerator: string
  /** Entrepot first, then the peers in the order of their columns. */
  readonly kinds: readonly ServerKind[]
  readonly missing: readonly MissingKind[]
  readonly results: readonly CaseResult[]
  readonly rows: readonly ComparisonRow[]
}

/** The tables of a report: rows that count in these units belong together. */
export const TABLES: readonly { readonly title: string; readonly units: readonly Unit[] }[] = [
  { title: 'Speed', units: ['req/s', 'MB/s', 'ms', 'ms p99 pull', 'ms p99 push', 'removals/s', 'times as many'] },
  { title: 'Processor time of the server', units: ['cpu s/GiB', 'cpu µs/request', 'times as many by cpu time'] },
  { title: 'Memory', units: ['MiB'] },
]

/** `21,340 req/s`, `12.3 ms`, `0.45 cpu s/GiB`. */
export function figureText(value: number, unit: Unit): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return `${value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`
}

/** `2.31`, `17.4`. */
export function ratioText(ratio: number): string {
  return ratio.toFixed(ratio >= 10 ? 1 : 2)
}

/** `1.90–2.62`: the rounds' lowest and highest ratio. */
export function spreadText({ lowest, highest }: Advantage): string {
  return `${ratioText(lowest)}–${ratioText(highest)}`
}

/** Each failure as a sentence. */
export function failuresOf({ results, kinds }: RunRecord): readonly string[] {
  return results.flatMap(({ label, outcomes }) =>
    kinds.flatMap(({ name, title }) => {
      const outcome = outcomes.get(name)
      return outcome !== undefined && 'failure' in outcome ? [`${title}, ${label}: ${outcome.failure}`] : []
    }),
  )
}
