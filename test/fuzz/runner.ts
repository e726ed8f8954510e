import { conditionCase, locatingCase, methodCase, pageCase, rangeCase, referrersCase } from './reading-cases.ts'
import type { Fixture, FuzzCase } from './fixture.ts'
import type { FuzzClient } from './fuzz-client.ts'
import type { Ledger } from './ledger.ts'
import { manifestCase } from './manifest-cases.ts'
import { brokenRequestCase, givingUpCase, pipelineCase, unusualRequestCase } from './raw-cases.ts'
import { Random } from '../random.ts'
import { smugglingCase } from './smuggling-cases.ts'
import { singleRequestCase, uploadCase } from './upload-cases.ts'

const CONNECTIONS = 16
/** So many failures tell enough. */
const MAX_FAILURES = 10

/** How often each kind of case comes; cases have from one to about twenty requests. */
const KINDS: readonly (readonly [number, (fuzz: FuzzCase) => Promise<void>])[] = [
  [8, locatingCase],
  [4, rangeCase],
  [4, pageCase],
  [2, referrersCase],
  [4, conditionCase],
  [2, methodCase],
  [6, uploadCase],
  [4, singleRequestCase],
  [6, manifestCase],
  [7, brokenRequestCase],
  [2, unusualRequestCase],
  [4, givingUpCase],
  [3, pipelineCase],
  [7, smugglingCase],
]

export interface RunOptions {
  readonly seed: string
  readonly client: FuzzClient
  readonly ledger: Ledger
  readonly fixture: Fixture
}

/**
 * Runs cases from number `first` until so many requests were sent, some at a time.
 * @returns the failures, each with what is needed to run its case again, and the number of the next case.
 */
export async function runCases(
  options: RunOptions,
  limit: { first: number; requests: number },
): Promise<{ failures: string[]; next: number }> {
  const failures: string[] = []
  const end = options.client.requests + limit.requests
  let next = limit.first
  const work = async () => {
    while (options.client.requests < end && failures.length < MAX_FAILURES) {
      const failure = await runCase(options, next++)
      if (failure !== undefined) failures.push(failure)
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, work))
  return { failures, next }
}

/** Runs one case, which follows from the seed and its number alone. @returns its failure. */
export async function runCase(options: RunOptions, number: number): Promise<string | undefined> {
  const random = new Random(`${options.seed}/${number}`)
  const run = random.weighted(KINDS)
  try {
    await run({ ...options, random, number })
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return `ENTREPOT_FUZZ_SEED=${options.seed} ENTREPOT_FUZZ_CASE=${number} (${run.name}): ${reason}`
  }
}
