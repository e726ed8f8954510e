import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { type PostgresCluster, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'

/** Several registries on one PostgreSQL and one folder. */
export interface Instances {
  readonly cluster: PostgresCluster
  readonly registries: readonly TestRegistry[]
  readonly clients: readonly RegistryClient[]
  readonly dataDirectory: string
}

/**
 * Starts a PostgreSQL and some registries that share it, and a folder; all goes when the test ends.
 * @param config keys laid over the test configuration of each.
 */
export async function startInstances(
  t: TestContext,
  count: number,
  config: { storage?: object; [key: string]: unknown } = {},
): Promise<Instances> {
  const cluster = await startPostgres({ fsync: 'off' })
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-instances-'))
  t.after(async () => {
    await cluster.remove()
    await rm(folder, { recursive: true, force: true })
  })
  const dataDirectory = join(folder, 'data')
  const { storage, ...rest } = config
  const shared = {
    ...rest,
    storage: { ...storage, filesystem: { rootdirectory: dataDirectory } },
    database: { url: cluster.url('postgres') },
  }
  const registries = await Promise.all(Array.from({ length: count }, async () => startRegistry(t, { config: shared })))
  return { cluster, registries, clients: registries.map(({ url }) => new RegistryClient(url)), dataDirectory }
}
