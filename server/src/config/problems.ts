/** Something wrong in the configuration, in words for the person who wrote it. */
export interface ConfigProblem {
  /** Where: a key's path such as `http.addr`. */
  readonly path: string
  /** The environment variable that set it. */
  readonly variable?: string | undefined
  /** The line of the file, where the file set it. */
  readonly line?: number | undefined
  readonly message: string
  /** The nearest valid key. */
  readonly suggestion?: string | undefined
}

/** The configuration cannot be used; says all that is wrong at once. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[]
  /** The file that was read, if any. */
  readonly file: string | undefined

  constructor(problems: readonly ConfigProblem[], file: string | undefined) {
    const lines = problems.map((problem) => formatProblem(problem, file))
    super(
      lines.length === 1 ? lines.join() : [`the configuration has ${lines.length} problems:`, ...lines].join('\n  '),
    )
    this.name = 'ConfigError'
    this.problems = problems
    this.file = file
  }
}

/** One line such as `config.yml:7: http.adr: there is no such key; did you mean "addr"?` */
export function formatProblem(problem: ConfigProblem, file: string | undefined): string {
  const { path, variable, line, message, suggestion } = problem
  const hint = suggestion === undefined ? '' : `; did you mean "${suggestion}"?`
  if (variable !== undefined) return `${variable} (${path}): ${message}${hint}`
  const place = [file, line].filter((part) => part !== undefined).join(':')
  return `${[place, path].filter((part) => part !== '').join(': ')}: ${message}${hint}`
}

/** The candidate that takes the fewest changes of a letter, unless that is hardly alike. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (best === undefined || distance < best.distance) best = { candidate, distance }
  }
  return best !== undefined && best.distance <= Math.max(2, Math.floor(word.length / 2)) ? best.candidate : undefined
}

/** Levenshtein's distance, with a swap of neighbours counted once. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1]
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1))
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1)
      }
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[to.length] ?? 0
}
