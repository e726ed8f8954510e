import { test } from 'node:test'
import * as fc from 'fast-check'
import { uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { RepositoryModel } from './sequence-model.ts'
import { type Model, operations, type Real, verifyRepositories } from './sequence-operations.ts'
import { SharedRegistry } from './shared-registry.ts'
import { byTier } from './tier.ts'

const RUNS = byTier({ quick: 20, ci: 300, release: 10_000 })
/** On average a sequence has half as many. */
const MOST_OPERATIONS = 120
const LANES = 5
const INTERVAL = '5ms'

for (const [isEager, age] of [
  [false, '1h'],
  [true, '0s'],
] as const) {
  test(`whatever is pushed, deleted, listed and pulled in any order is as a model says, with garbage of ${age}`, async (t) => {
    const seed = faultSeed(t)
    const registry = await startRegistry(t, { config: configOf(age) })
    const real: Real = { registry: new SharedRegistry(registry) }
    let performed = 0
    const run = fc.asyncProperty(
      fc.commands([operations], { maxCommands: MOST_OPERATIONS, size: 'max' }),
      async (commands) => {
        const name = uniqueName('sequences')
        const model: Model = {
          repositories: [new RepositoryModel(`${name}/a`, isEager), new RepositoryModel(`${name}/b`, isEager)],
        }
        await fc.asyncModelRun(() => ({ model, real }), commands)
        await verifyRepositories(model, real)
        performed += [...commands].length
      },
    )
    const numRuns = Math.ceil(RUNS / 2 / LANES)
    // Several at once, so that what one sequence removes is what another one pushes.
    const lanes = Array.from({ length: LANES }, async (_, lane) => fc.assert(run, { seed: seed + lane, numRuns }))
    for (const outcome of await Promise.allSettled(lanes)) if (outcome.status === 'rejected') throw outcome.reason
    t.diagnostic(`${performed} operations in ${numRuns * LANES} sequences`)
    await registry.stop()
    await expectSound(t, registry.dataDirectory)
  })
}

function configOf(age: string) {
  return {
    log: { level: 'warn' },
    // What is deleted is garbage, or rests, for the same time.
    storage: { maintenance: { garbagecollection: { age, interval: INTERVAL }, trash: { age } } },
    limits: { pagesize: 3 },
  }
}
