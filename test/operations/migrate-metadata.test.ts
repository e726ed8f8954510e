import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { hasPostgres, isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'
import { entrepot, temporaryFolder } from './command.ts'

const cluster = (await hasPostgres()) ? await startPostgres() : undefined
after(async () => cluster?.remove())

const MOVE = ['migrate', 'metadata', '--from', 'sqlite', '--to', 'postgres']

/** A registry on SQLite, and an empty database that its metadata can be moved to. */
async function registryToMove(t: TestContext, database: string) {
  assert.ok(cluster !== undefined)
  const server = cluster
  await server.run(`create database ${database}`)
  const env: Record<string, string> = {}
  const registry = await startRegistry(t, { env })
  const url = server.url(database)
  return {
    registry,
    client: new RegistryClient(registry.url),
    sql: async (statement: string) => server.run(statement, database),
    /** From now on starts use PostgreSQL. */
    url,
    use: () => void (env['REGISTRY_DATABASE_URL'] = url),
    move: async (...options: string[]) =>
      entrepot([...MOVE, ...options], {
        env: {
          REGISTRY_DATABASE_URL: url,
          REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: registry.dataDirectory,
        },
      }),
  }
}

test('all that a registry on SQLite has is there after the move to PostgreSQL, open uploads and the trash included', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { registry, client, use, move, sql } = await registryToMove(t, 'moved')
  const [name, other] = [uniqueName(), uniqueName()]
  const images = await Promise.all(
    Array.from({ length: 12 }, async (_, index) => client.pushImage(name, { reference: `v${index}` })),
  )
  await client.pushImage(other, { reference: 'deleted' })
  assert.equal((await client.delete(`/v2/${other}/manifests/deleted`)).status, 202)
  const [begun, rest] = [randomBlob(), randomBlob()]
  const upload = await client.startUpload(name)
  const patched = await client.patchChunk(upload, begun)
  assert.equal(patched.status, 202)
  await registry.stop()

  const tried = await move('--dry-run', '--json')
  assert.equal(tried.code, 0, tried.stderr)
  assert.equal(
    await sql("select count(*) from pg_tables where schemaname = 'public'"),
    '0',
    'a dry run changes nothing',
  )
  const done = await move('--json')
  assert.equal(done.code, 0, done.stderr)
  const file = join(registry.dataDirectory, 'entrepot.db')
  assert.deepEqual(JSON.parse(done.stdout), {
    ...JSON.parse(tried.stdout),
    isDryRun: false,
    putAside: `${file}.moved-to-postgres`,
  })
  await assert.rejects(stat(file), { code: 'ENOENT' })

  use()
  await registry.start()
  for (const [index, image] of images.entries()) {
    const answer = await client.get(`/v2/${name}/manifests/v${index}`)
    assert.equal(answer.header('docker-content-digest'), image.descriptor.digest)
  }
  assert.equal((await client.get(`/v2/${other}/manifests/deleted`)).status, 404)
  const both = Buffer.concat([begun, rest])
  assert.equal((await client.putBlob(client.location(patched), digestOf(both), rest)).status, 201)
  const configuration = { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: registry.dataDirectory }
  const restored = await entrepot(['trash', 'restore', other, 'deleted'], { env: configuration })
  assert.equal(restored.code, 0, restored.stderr)
  assert.equal((await client.get(`/v2/${other}/manifests/deleted`)).status, 200)
  // New rows get numbers that no row has had.
  await client.pushImage(uniqueName(), { reference: 'new' })
})

test('a move that fails leaves both sides as they were, and can be done again', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { registry, client, use, move, sql, url } = await registryToMove(t, 'failing')
  const name = uniqueName()
  const { descriptor } = await client.pushImage(name, { reference: 'v1' })
  await registry.stop()
  // The tables are there, as after a move that was cut off, and one of the last takes nothing.
  await (await startRegistry(t, { config: { database: { url } } })).stop()
  await sql('truncate garbage_runs, jobs, job_lines; alter table tags add constraint nothing check (false)')
  const failed = await move()
  assert.equal(failed.code, 1)
  assert.match(failed.stderr, /violates check constraint "nothing"/)
  assert.equal(await sql('select count(*) from repositories'), '0')
  await registry.start()
  assert.equal((await client.head(`/v2/${name}/manifests/v1`)).status, 200)
  const second = await client.pushImage(name, { reference: 'v2' })
  await registry.stop()

  await sql('alter table tags drop constraint nothing')
  assert.equal((await move()).code, 0)
  use()
  await registry.start()
  for (const [tag, expected] of [['v1', descriptor] as const, ['v2', second.descriptor] as const]) {
    const answer = await client.head(`/v2/${name}/manifests/${tag}`)
    assert.equal(answer.header('docker-content-digest'), expected.digest)
  }
})

test('a move is refused while a server works, into a database that is in use, and where there is nothing to move', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { registry, client, move, url } = await registryToMove(t, 'refused')
  await client.pushImage(uniqueName(), { reference: 'v1' })
  const beside = await move()
  assert.equal(beside.code, 1)
  assert.match(beside.stderr, /another Entrepot works in the data folder/)
  await registry.stop()

  const other = await startRegistry(t, { config: { database: { url } } })
  await new RegistryClient(other.url).pushImage(uniqueName(), { reference: 'v1' })
  const filled = await move()
  assert.equal(filled.code, 1)
  assert.match(filled.stderr, /has metadata already \(in its table "repositories"\): name an empty one/)
  await registry.start()
  await registry.stop()
  await other.stop()

  const empty = await temporaryFolder(t)
  const nothing = await entrepot(MOVE, {
    env: { REGISTRY_DATABASE_URL: url, REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: empty },
  })
  assert.equal(nothing.code, 1)
  assert.match(nothing.stderr, /there are no metadata in .*entrepot\.db: nothing is to be moved/)
  const nowhere = await entrepot(MOVE, { env: { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: registry.dataDirectory } })
  assert.equal(nowhere.code, 1)
  assert.match(nowhere.stderr, /"database\.url" \(REGISTRY_DATABASE_URL\) is not set/)
  assert.equal((await entrepot(['migrate', 'metadata'])).code, 2)
})

test('after the move no start takes SQLite for the truth', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { registry, client, move } = await registryToMove(t, 'truth')
  await client.pushImage(uniqueName(), { reference: 'v1' })
  // What is only in its log goes along.
  await registry.kill()
  assert.equal((await move()).code, 0)
  await assert.rejects(registry.start(), /has blobs, but their database .*entrepot\.db is missing or empty/)
})
