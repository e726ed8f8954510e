import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, stat } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { isOnPostgres } from '../test-database.ts'
import { entrepot, temporaryFolder } from './command.ts'
import { folderOf } from './management-request.ts'

const GARBAGE_GOES_AT_ONCE = { garbagecollection: { age: '0s', interval: '1h' } }

const commandEnvironment = (registry: Pick<TestRegistry, 'dataDirectory'>) => ({
  ...folderOf(registry),
  REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_AGE: '0s',
})

async function ask(socketPath: string, method: string, path: string) {
  const outgoing = request({ socketPath, method, path, headers: { host: 'localhost' } })
  outgoing.end()
  const [incoming] = await once(outgoing, 'response')
  return { status: incoming.statusCode, text: await text(incoming) }
}

test('a command works through the server that runs, and in the folder itself when none does', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { maintenance: GARBAGE_GOES_AT_ONCE } } })
  const client = new RegistryClient(registry.url)
  const env = commandEnvironment(registry)
  const name = uniqueName()
  for (const sizeBytes of [12_345, 54_321]) {
    const bytes = randomBlob(sizeBytes)
    await client.pushBlob(name, bytes)
    await client.delete(`/v2/${name}/blobs/${digestOf(bytes)}`)
    if (sizeBytes === 54_321) await registry.kill()
    const { code, stdout, stderr } = await entrepot(['gc', '--now', '--json'], { env })
    assert.equal(code, 0, stderr)
    const run: unknown = JSON.parse(stdout)
    assert.partialDeepStrictEqual(run, { startedBy: 'command', removedContents: 1, removedBytes: sizeBytes })
  }
  await registry.start()
  assert.equal((await client.get('/v2/')).status, 200)
})

test('the socket is for its owner alone, and answers every refusal as the registry does', async (t) => {
  const registry = await startRegistry(t)
  const socketPath = join(registry.dataDirectory, 'entrepot.sock')
  const check = async () => {
    assert.equal((await stat(socketPath)).mode & 0o777, 0o600)
    const answer = await ask(socketPath, 'GET', '/api/v1/nothing')
    assert.equal(answer.status, 404)
    assert.deepEqual(JSON.parse(answer.text), {
      errors: [{ code: 'UNSUPPORTED', message: 'there is nothing at this URL' }],
    })
  }
  await check()
  // What a killed server leaves is replaced.
  await registry.kill()
  await registry.start()
  await check()
  assert.equal((await fetch(`${registry.url}/api/v1/garbage-collection/runs`, { method: 'POST' })).status, 404)
})

test('nothing is removed by command while the registry is read-only', async (t) => {
  const maintenance = { ...GARBAGE_GOES_AT_ONCE, readonly: { enabled: true } }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  const { code, stderr } = await entrepot(['gc', '--now'], { env: commandEnvironment(registry) })
  assert.equal(code, 1)
  assert.match(stderr, /read-?only/)
})

test('a data folder whose path is too long for a socket is served without one, and a warning says so', async (t) => {
  const folder = join(await temporaryFolder(t), 'x'.repeat(120))
  const registry = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: folder } } } })
  assert.match(registry.output(), /WARN: .*a path has 107 bytes at most/)
  assert.equal((await fetch(`${registry.url}/v2/`)).status, 200)
  const { code, stderr } = await entrepot(['gc', '--now'], { env: commandEnvironment({ dataDirectory: folder }) })
  // On PostgreSQL the command is one instance more.
  assert.equal(code, isOnPostgres ? 0 : 1, stderr)
  if (!isOnPostgres) assert.match(stderr, /another Entrepot works in the data folder/)
})

test('a command says so when there is no registry in the folder, and makes none', async (t) => {
  const folder = join(await temporaryFolder(t), 'data')
  const absent = await entrepot(['gc', '--now'], { env: commandEnvironment({ dataDirectory: folder }) })
  assert.equal(absent.code, 1)
  assert.match(absent.stderr, /there is no registry in the data folder/)
  await assert.rejects(stat(folder))
  await mkdir(folder)
  assert.equal((await entrepot(['gc', '--now'], { env: commandEnvironment({ dataDirectory: folder }) })).code, 1)
})
