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
  /** Runs SQL in their database, and gives what `psql` prints. */
  readonly runSql: (sql: string) => Promise<string>
  readonly registries: readonly TestRegistry[]
  readonly clients: readonly RegistryClient[]
  readonly dataDirectory: string
  /** What commands take to work on the same. */
  readonly configFile: string
}

/** One for all tests of a file, each of which has a database of its own. */
let sharedCluster: Promise<PostgresCluster> | undefined
after(async () => (await sharedCluster)?.remove())

/**
 * Starts some registries that share a database and a folder; all goes when the test ends.
 * @param config keys laid over the test configuration of each.
 */
export async function startInstances(
  t: TestContext,
  count: number,
  config: { storage?: object; [key: string]: unknown } = {},
): Promise<Instances> {
  sharedCluster ??= startPostgres({ fsync: 'off', max_connections: '300' })
  const cluster = await sharedCluster
  const name = `instances_${randomBytes(8).toString('hex')}`
  await cluster.run(`create database ${name}`)
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-instances-'))
  t.after(async () => {
    await rm(folder, { recursive: true, force: true })
  })
  const dataDirectory = join(folder, 'data')
  const { storage, ...rest } = config
  const shared = {
    ...rest,
    storage: { ...storage, filesystem: { rootdirectory: dataDirectory } },
    database: { url: cluster.url(name) },
  }
  const registries = await Promise.all(Array.from({ length: count }, async () => startRegistry(t, { config: shared })))
  const configFile = join(folder, 'config.yml')
  const { database, storage: sharedStorage } = shared
  await writeFile(configFile, JSON.stringify({ version: '0.1', database, storage: sharedStorage }))
  return {
    configFile,
    runSql: async (sql) => cluster.run(sql, name),
    registries,
    clients: registries.map(({ url }) => new RegistryClient(url)),
    dataDirectory,
  }
}
