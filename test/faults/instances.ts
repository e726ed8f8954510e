import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { type PostgresCluster, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'

/** Several registries on one PostgreSQL and one folder. */
export interface Instances {
  readonly registries: readonly TestRegistry[]
  readonly clients: readonly RegistryClient[]
  readonly dataDirectory: string
  /** What commands take to work on the same. */
  readonly configFile: string
}

/** Keys laid over the test configuration of each. */
type SharedConfig = { storage?: object; database?: object; [key: string]: unknown }

/** One for all tests of a file, each of which has a database of its own. */
let sharedCluster: Promise<PostgresCluster> | undefined
after(async () => (await sharedCluster)?.remove())

/**
 * Starts some registries that share a folder and a database of their own; all goes when the test ends.
 * @returns also what runs SQL in their database, and gives what `psql` prints.
 */
export async function startInstances(
  t: TestContext,
  count: number,
  config: SharedConfig = {},
): Promise<Instances & { readonly runSql: (sql: string) => Promise<string> }> {
  sharedCluster ??= startPostgres({ fsync: 'off', max_connections: '300' })
  const cluster = await sharedCluster
  const name = `instances_${randomBytes(8).toString('hex')}`
  await cluster.run(`create database ${name}`)
  const instances = await startInstancesOn(t, cluster.url(name), count, config)
  return { ...instances, runSql: async (sql) => cluster.run(sql, name) }
}

/** Starts some registries that share a folder and a database that is there; the folder goes when the test ends. */
export async function startInstancesOn(
  t: TestContext,
  url: string,
  count: number,
  config: SharedConfig = {},
): Promise<Instances> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-instances-'))
  t.after(async () => {
    await rm(folder, { recursive: true, force: true })
  })
  const dataDirectory = join(folder, 'data')
  const shared = {
    ...config,
    storage: { ...config.storage, filesystem: { rootdirectory: dataDirectory } },
    database: { ...config.database, url },
  }
  const registries = await Promise.all(Array.from({ length: count }, async () => startRegistry(t, { config: shared })))
  const configFile = join(folder, 'config.yml')
  const { database, storage } = shared
  await writeFile(configFile, JSON.stringify({ version: '0.1', database, storage }))
  return {
    configFile,
    registries,
    clients: registries.map(({ url: origin }) => new RegistryClient(origin)),
    dataDirectory,
  }
}
