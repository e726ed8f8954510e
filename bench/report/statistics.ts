/** What a reading counts in. The unit also says whether more or less of it is better. */
export type Unit =
  | 'req/s'
  | 'MB/s'
  | 'ms'
  | 'MiB'
  | 'cpu s/GiB'
  | 'cpu µs/request'
  | 'ms p99 pull'
  | 'ms p99 push'
  | 'removals/s'
  | 'times as many'
  | 'times as many by cpu time'

/** The ratios of one comparison: above 1 the first server is better, below 1 the second. */
export interface Advantage {
  readonly median: number
  readonly lowest: number
  readonly highest: number
}

/** The middle value, or the mean of the two middle ones. NaN for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN
  return (upper + lower) / 2
}

/** The smallest value that is not exceeded by that part of the values, such as 0.99. NaN for an empty list. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * part) - 1] ?? Number.NaN
}

/**
 * How many times better `ours` is than `theirs`, round by round, so that a slow minute of the machine, which hits both
 * servers of a round, cancels out. Undefined when the two did not run the same number of rounds.
 */
export function advantage(ours: readonly number[], theirs: readonly number[], unit: Unit): Advantage | undefined {
  if (ours.length === 0 || ours.length !== theirs.length) return undefined
  const ratios = ours.map((own, round) => {
    const other = theirs[round] ?? Number.NaN
    return isMoreBetter(unit) ? own / other : other / own
  })
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) }
}

function isMoreBetter(unit: Unit): boolean {
  return unit === 'req/s' || unit === 'MB/s' || unit === 'removals/s'
}
