import assert from 'node:assert/strict'
import { chown, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { uniqueName } from '../content.ts'
import { freePort, startRegistry, until } from '../harness.ts'
import { hasPostgres, isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { RegistryClient } from '../registry-client.ts'
import { createCertificate } from './certificates.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

const cluster = (await hasPostgres()) ? await startPostgres() : undefined
after(async () => cluster?.remove())

/** The server; the tests are skipped where there is none. */
function server() {
  assert.ok(cluster !== undefined)
  return cluster
}

/** A new database, and its URL. */
async function createDatabase(name: string): Promise<string> {
  await server().run(`create database ${name}`)
  return server().url(name)
}

/** How a start with a database ends that it must not take, and how long that took. */
async function failedStart(t: Parameters<typeof startRegistry>[0], url: string) {
  const folder = await temporaryFolder(t)
  const yaml = `version: 0.1\nstorage: {filesystem: {rootdirectory: ${folder}/data}}\nhttp: {addr: "127.0.0.1:${await freePort()}"}`
  const file = await writeConfig(folder, `${yaml}\ndatabase: {url: "${url}"}\n`)
  const start = performance.now()
  const { code, stderr, stdout } = await entrepot(['serve', file])
  assert.equal(code, 1, `${stdout}${stderr}`)
  assert.ok(performance.now() - start < 10_000, `it took ${performance.now() - start} ms`)
  return stderr
}

test('a start names a database that is not there, and a server that does not answer', async (t) => {
  if (!(await isPostgresPresent(t))) return
  assert.match(await failedStart(t, server().url('absent')), /database "absent" does not exist/)
  const url = `postgres://entrepot@127.0.0.1:${await freePort()}/entrepot`
  assert.match(await failedStart(t, url), /PostgreSQL at 127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/)
})

test('a start refuses a user that is not known, without a word of the password', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const url = `postgres://nobody:canary-5f1e@127.0.0.1:${server().port}/postgres`
  const stderr = await failedStart(t, url)
  assert.match(stderr, /role "nobody" does not exist/)
  assert.doesNotMatch(stderr, /canary-5f1e/)
})

test('a start refuses a database that is read-only, and says which setting makes it so', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const url = await createDatabase('readonly')
  await server().run('alter database readonly set default_transaction_read_only = on')
  assert.match(await failedStart(t, url), /this database is read-only: set default_transaction_read_only to off/)
})

test('a start refuses a database that a newer version has upgraded', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const url = await createDatabase('newer')
  const registry = await startRegistry(t, { config: { database: { url } } })
  await registry.stop()
  await server().run("insert into schema_migrations values ('of_next_year', 999, 0)", 'newer')
  assert.match(await failedStart(t, url), /upgraded by a newer version .*"of_next_year"/)
})

test('a start refuses a URL that does not say how a connection over the network is protected', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const folder = await temporaryFolder(t)
  const file = await writeConfig(folder, 'version: 0.1\ndatabase: {url: "postgres://a:canary-77@db.example/a"}\n')
  const { code, stderr } = await entrepot(['config', 'check', file])
  assert.equal(code, 1)
  assert.match(stderr, /database\.url: expected a URL that says with "sslmode"/)
  assert.doesNotMatch(stderr, /canary-77/)
})

test('the first of several hosts that can be written to is used', async (t) => {
  if (!(await isPostgresPresent(t))) return
  await createDatabase('several')
  const url = `postgres://postgres@127.0.0.1:${await freePort()},127.0.0.1:${server().port}/several`
  const registry = await startRegistry(t, { config: { database: { url } } })
  await new RegistryClient(registry.url).pushImage(uniqueName(), { reference: 'v1' })
})

test('names are listed in the order of their bytes, whatever the language of the database', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const url = await createDatabase('ordered')
  const registry = await startRegistry(t, { config: { database: { url } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  for (const reference of ['b', 'A', '_', 'a', 'B', '1.0', '1-0']) await client.pushImage(name, { reference })
  const answer = await client.get(`/v2/${name}/tags/list`)
  assert.deepEqual(answer.json(), { name, tags: ['1-0', '1.0', 'A', 'B', '_', 'a', 'b'] })
})

test('PostgreSQL compiles no statement, which would take longer than to run it', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const url = await createDatabase('uncompiled')
  await server().run('alter database uncompiled set jit_dump_bitcode = on')
  const registry = await startRegistry(t, { config: { database: { url } } })
  await new RegistryClient(registry.url).pushImage(uniqueName(), { reference: 'v1' })
  assert.equal(await server().run("select count(*) from pg_ls_dir('.') as file where file like '%.bc'"), '0')
})

test('a tag that another process moves is known within a second', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const url = await createDatabase('shared')
  const registry = await startRegistry(t, { config: { database: { url } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName()
  await client.pushImage(name, { reference: 'v1' })
  const second = await client.pushImage(name, { reference: 'v2' })
  const digestOfTag = async () => (await client.head(`/v2/${name}/manifests/v1`)).header('docker-content-digest')
  // Read often enough that it is remembered, where anything is.
  for (let reads = 0; reads < 20; reads++) await digestOfTag()
  // As another process does it, which says so in the transaction.
  const change = `update tags set digest = '${second.descriptor.digest}' where name = 'v1'; notify entrepot_changes, 'another'`
  const start = performance.now()
  await server().run(change, 'shared')
  await until(
    async () => (await digestOfTag()) === second.descriptor.digest,
    5_000,
    () => 'the old manifest is still served',
  )
  assert.ok(performance.now() - start < 2_000)
})

test('with sslmode=verify-full only the server of a certificate that an authority vouches for is talked to', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const folder = await temporaryFolder(t)
  const [right, other] = [await createCertificate(folder, 'right'), await createCertificate(folder, 'other')]
  const data = await server().run('show data_directory')
  const { uid, gid } = await stat(data)
  for (const [name, file] of Object.entries({ 'server.crt': right.certificate, 'server.key': right.key })) {
    await writeFile(join(data, name), await readFile(file), { mode: 0o600 })
    await chown(join(data, name), uid, gid)
  }
  await server().run('alter system set ssl = on')
  await server().run('select pg_reload_conf()')
  const url = `${await createDatabase('encrypted')}?sslmode=verify-full&sslrootcert=`
  assert.match(await failedStart(t, `${url}${other.certificate}`), /cannot be reached: self-signed certificate/)
  await startRegistry(t, { config: { database: { url: `${url}${right.certificate}` } } })
  const encrypted =
    "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where datname = 'encrypted'"
  assert.equal(await server().run(encrypted), 't')
})
