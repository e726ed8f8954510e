import { setTimeout as sleep } from 'node:timers/promises'
import { type TestRegistry, until } from '../harness.ts'
import type { PostgresCluster } from '../postgres-cluster.ts'
import { byTier } from './tier.ts'

const RECOVERY_MS = 10_000

/**
 * Stops the database under a load and starts it again, by turns as a crash and as an operator does, and each time waits
 * until all registries are ready again.
 * @param whileStopped looks at what they say meanwhile.
 */
export async function stopAgainAndAgain(
  cluster: PostgresCluster,
  registries: readonly TestRegistry[],
  whileStopped: () => Promise<void> = async () => {},
): Promise<void> {
  for (let stop = 0; stop < byTier({ quick: 1, ci: 4, release: 50 }); stop++) {
    await sleep(1_000)
    await cluster.stop(stop % 2 === 0 ? 'SIGQUIT' : 'SIGINT')
    await whileStopped()
    await sleep(500)
    await cluster.start()
    for (const registry of registries) {
      await until(
        async () => (await fetch(`${registry.url}/readyz`)).ok,
        RECOVERY_MS,
        () => `it is not ready again:\n${registry.output()}`,
      )
    }
  }
  await sleep(1_000)
}
