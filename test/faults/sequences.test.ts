import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { restore } from '../operations/management-request.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { RepositoryModel } from './sequence-model.ts'
import { type Model, operations, type Real, verifyRepositories } from './sequence-operations.ts'
import { SharedRegistry } from './shared-registry.ts'
import { byTier } from './tier.ts'

const RUNS = byTier({ quick: 15, ci: 300, release: 10_000 })
/** On average a sequence has half as many. */
const MOST_OPERATIONS = 120
const LANES = 5
const INTERVAL = '5ms'

for (const [age, trashAge] of [
  ['1h', '1h'],
  ['0s', '1h'],
  ['0s', '0s'],
] as const) {
  const keeping = { isEager: age === '0s', hasTrash: trashAge !== '0s' }
  test(`whatever is pushed, deleted, restored, listed and pulled in any order is as a model says, with garbage of ${age} and a trash of ${trashAge}`, async (t) => {
    const seed = faultSeed(t)
    const registry = await startRegistry(t, { config: configOf(age, trashAge) })
    const real: Real = {
      registry: new SharedRegistry(registry),
      restore: async (name, reference, as) => restore(registry, name, reference, as),
    }
    let performed = 0
    const run = fc.asyncProperty(
      fc.commands([operations], { maxCommands: MOST_OPERATIONS, size: 'max' }),
      async (commands) => {
        const name = uniqueName('sequences')
        const model: Model = {
          repositories: [new RepositoryModel(`${name}/a`, keeping), new RepositoryModel(`${name}/b`, keeping)],
        }
        await fc.asyncModelRun(() => ({ model, real }), commands)
        await verifyRepositories(model, real)
        performed += [...commands].length
      },
    )
    const numRuns = Math.ceil(RUNS / 3 / LANES)
    // Several at once, so that what one sequence removes is what another one pushes.
    const lanes = Array.from({ length: LANES }, async (_, lane) => fc.assert(run, { seed: seed + lane, numRuns }))
    for (const outcome of await Promise.allSettled(lanes)) if (outcome.status === 'rejected') throw outcome.reason
    assert.doesNotMatch(registry.output(), /could not be collected/)
    t.diagnostic(`${performed} operations in ${numRuns * LANES} sequences`)
    await registry.stop()
    await expectSound(t, registry.dataDirectory)
  })
}

function configOf(age: string, trashAge: string) {
  return {
    log: { level: 'warn' },
    storage: { maintenance: { garbagecollection: { age, interval: INTERVAL }, trash: { age: trashAge } } },
    limits: { pagesize: 3 },
  }
}
