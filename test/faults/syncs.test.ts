import assert from 'node:assert/strict'
import { mkdir, readFile, realpath, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { digestOf, imageDocument, mediaTypes, randomBlob } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { entrepot, temporaryFolder, writeConfig } from '../operations/command.ts'
import { describe, RegistryClient } from '../registry-client.ts'
import { isOnPostgres } from '../test-database.ts'
import { canInject } from './injection.ts'
import { SyncLedger, TRACE_OPTIONS } from './sync-ledger.ts'

const PATIENCE_MS = 20_000
const NAME = 'faults/synced'
/** So many commits move the log into the database; those after them begin it anew. */
const COMMITS = 230
/** How a trace shows that. */
const LOG_BEGINS = /entrepot\.db-wal>, ""\.\.\., 32, 0/
/** More than an upload lets wait for its end. */
const LARGE_BYTES = 20 * 1024 * 1024
/** One request after the other: nothing else writes meanwhile. */
const NOTHING_ELSE = { garbagecollection: { enabled: false }, uploadpurging: { enabled: false } }

test('before each answer all that it promises is on the disk, and the log is moved in an order that a power cut cannot harm', async (t) => {
  if (isOnPostgres || !canInject(t)) return
  const folder = await temporaryFolder(t)
  const [trace, root] = [join(folder, 'trace'), join(folder, 'made', 'on', 'the-way')]
  const registry = await startRegistry(t, {
    config: { storage: { filesystem: { rootdirectory: root }, maintenance: NOTHING_ELSE } },
    through: ['strace', '-D', `--output=${trace}`, ...TRACE_OPTIONS],
  })
  const ledger = new SyncLedger(await realpath(root))
  const client = new RegistryClient(registry.url)
  const upload = await pushByEveryWay(client)
  for (let commit = 0; commit < COMMITS; commit += 1) await client.startUpload(NAME)
  await until(
    async () => {
      await client.startUpload(NAME)
      // Once when it was new, and once more when what it held was in the database.
      return (await readFile(trace, 'utf8')).split(LOG_BEGINS).length > 2
    },
    PATIENCE_MS,
    () => 'the log is not begun anew',
  )
  const checked = `uploads/check-${registry.pid()}`
  ledger.read(await killAndRead(registry, trace))
  assert.deepEqual(ledger.violations, [])
  assert.ok(ledger.answers > COMMITS, `${ledger.answers} answers`)
  assert.ok((ledger.syncs.get(`uploads/${upload}`) ?? 0) > 1, 'a large upload is synced while it is received')
  assert.ok((ledger.syncs.get(checked) ?? 0) > 0, 'what the health check writes is synced')

  // The process before was killed between making a folder and syncing the one above it.
  ledger.leaveRoot()
  const blob = randomBlob()
  const blobFolder = `blobs/sha256/${digestOf(blob).slice('sha256:'.length).slice(0, 2)}`
  await mkdir(join(root, blobFolder), { recursive: true })
  ledger.leaveFolder(blobFolder)
  await registry.start()
  await new RegistryClient(registry.url).pushBlob(NAME, blob)
  ledger.read(await killAndRead(registry, trace))
  assert.deepEqual(ledger.violations, [])
})

test('damaged content is in quarantine on the disk before it leaves its place, and both before the command ends', async (t) => {
  if (isOnPostgres || !canInject(t)) return
  const registry = await startRegistry(t)
  const { digest } = await new RegistryClient(registry.url).pushBlob(NAME)
  await registry.stop()
  const hex = digest.slice('sha256:'.length)
  const root = await realpath(registry.dataDirectory)
  await writeFile(join(root, 'blobs', 'sha256', hex.slice(0, 2), hex), randomBlob())

  const folder = await temporaryFolder(t)
  const trace = join(folder, 'trace')
  const settings = { version: '0.1', storage: { filesystem: { rootdirectory: root } } }
  const config = await writeConfig(folder, JSON.stringify(settings))
  const { code, stderr } = await entrepot(['fsck', '--deep', '--quarantine', config], {
    through: ['strace', `--output=${trace}`, ...TRACE_OPTIONS],
  })
  assert.equal(code, 1, stderr)
  await stat(join(root, 'quarantine', 'sha256', hex))
  const ledger = new SyncLedger(root)
  ledger.read(await readFile(trace, 'utf8'))
  ledger.expectSynced('when the command ends')
  assert.deepEqual(ledger.violations, [])
})

/** Blobs, manifests, tags, mounts and deletions. @returns the id of a large upload. */
async function pushByEveryWay(client: RegistryClient): Promise<string> {
  const config = await client.pushBlob(NAME)
  const whole = randomBlob(300_000)
  const posted = await client.post(`/v2/${NAME}/blobs/uploads/?digest=${digestOf(whole)}`, { body: whole })
  assert.equal(posted.status, 201, describe(posted))
  const large = randomBlob(LARGE_BYTES)
  const upload = await client.startUpload(NAME)
  const next = client.location(await client.patchChunk(upload, large))
  const closed = await client.putBlob(next, digestOf(large), Buffer.alloc(0))
  assert.equal(closed.status, 201, describe(closed))
  const image = imageDocument(config, [{ ...config, digest: digestOf(large), size: large.length }])
  await client.pushManifest(NAME, image, mediaTypes.image, { reference: `${digestOf(image)}?tag=one&tag=two` })
  const mounted = await client.post(`/v2/faults/mounted/blobs/uploads/?mount=${config.digest}&from=${NAME}`)
  assert.equal(mounted.status, 201, describe(mounted))
  const deleted = await client.delete(`/v2/${NAME}/manifests/${digestOf(image)}`)
  assert.equal(deleted.status, 202, describe(deleted))
  return basename(new URL(upload).pathname)
}

/** Ends the server, and gives all that it did. */
async function killAndRead(registry: TestRegistry, trace: string): Promise<string> {
  const pid = registry.pid()
  await registry.kill()
  const isComplete = async () => new RegExp(`^${pid} +\\+{3} `, 'm').test(await readFile(trace, 'utf8'))
  await until(isComplete, PATIENCE_MS, () => 'the trace does not end')
  return readFile(trace, 'utf8')
}
