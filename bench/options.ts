import { join } from 'node:path'
import { parseArgs } from 'node:util'

export const HELP = `Usage: npm run bench -- [options]

Runs the same work against Entrepot and its peers, side by side, and prints ratios.

  --scale-out          on PostgreSQL and MinIO, beside SQLite and a folder, instead of beside other registries
  --quick              less of everything and two rounds: an impression in four minutes
  --rounds <n>         counted rounds after the warm-up round (default 5, quick 2)
  --only <name>        only this work; may be repeated (see below)
  --tags <n>           tags of the large repository in tag-list (default 100000, quick 10000)
  --repositories <n>   repositories in catalog (default 10000, quick 1000)
  --output <file>      where to write the report (default bench/RESULTS.md or bench/SCALE-OUT.md, by complete runs only)
  --help               this text

Data is laid out in a temporary folder (TMPDIR) that is removed at the end; it needs 25 GB.
`

/** What a person asked for on the command line, with the defaults filled in. */
export interface Options {
  /** Whether Entrepot on PostgreSQL and S3 is measured beside Entrepot in a folder. */
  readonly scaleOut: boolean
  readonly quick: boolean
  /** Counted rounds; one warm-up round comes before them. */
  readonly rounds: number
  /** Names of the works to run; empty means all. */
  readonly only: readonly string[]
  readonly tags: number
  readonly repositories: number
  /** Only explain the options. */
  readonly help: boolean
  /** The report's file; undefined when the report is only printed. */
  readonly output: string | undefined
}

/**
 * Reads the command line.
 * @param folder where complete runs write their reports.
 * @throws Error with a sentence for the person when an option is unknown or no positive whole number
 */
export function readOptions(args: readonly string[], folder: string): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'scale-out': { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      tags: { type: 'string' },
      repositories: { type: 'string' },
      output: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const { quick, only, help, 'scale-out': scaleOut } = values
  const isComplete = !quick && only.length === 0
  return {
    scaleOut,
    quick,
    only,
    help,
    rounds: wholeNumber('--rounds', values.rounds, quick ? 2 : 5),
    tags: wholeNumber('--tags', values.tags, quick ? 10_000 : 100_000),
    repositories: wholeNumber('--repositories', values.repositories, quick ? 1000 : 10_000),
    output: values.output ?? (isComplete ? join(folder, scaleOut ? 'SCALE-OUT.md' : 'RESULTS.md') : undefined),
  }
}

function wholeNumber(name: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} takes a whole number above 0, not "${text}"`)
  return value
}
