import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import type { Digest } from '@entrepot/oci'
import { joinInstances } from '#core/instances'
import { ensureRepository, repositoryMigrations } from '#core/repositories'
import { type Database, migrate, openSqlite } from '#platform/database'
import { createLogger } from '#platform/log'
import {
  blobMigrations,
  type BlobReferences,
  ContentTurns,
  createBlobs,
  digestOf,
  FilesystemStore,
  GarbageCollector,
  Uploads,
  UploadTurns,
} from './index.ts'

const NOTHING_IS_NEEDED: BlobReferences = { findNeeded: async () => new Set(), findOwned: async () => new Set() }
const AN_HOUR_MS = 3_600_000

/** Two repositories, of which the first has a blob, and collectors for them. */
async function storeWithBlob(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-garbage-'))
  const database = openSqlite(join(folder, 'entrepot.db'))
  t.after(async () => {
    await database.close()
    await rm(folder, { recursive: true, force: true })
  })
  await migrate(database, [...repositoryMigrations, ...blobMigrations])
  const store = await FilesystemStore.open(folder)
  const contentTurns = new ContentTurns(database, 1_000)
  const log = await createLogger({ level: 'error', formatter: 'json', fields: {} })
  const instance = await joinInstances(database, log)
  const turns = new UploadTurns({ database, instance, store, log })
  const uploads = new Uploads({ database, deletions: database, store, contentTurns, turns, maxOpen: 10 })
  const policy = { verifiesReads: true, verificationAgeMs: 0, quarantines: false, onDamage: () => {} }
  const blobs = createBlobs({ database, store, contentTurns, uploads, log, policy })
  const bytes = randomBytes(1_000)
  const digest: Digest = digestOf('sha256', bytes)
  await uploads.receive('first', Readable.from([bytes]), digest)
  const [repositoryId, otherId] = await database.transaction(async (transaction) => [
    await ensureRepository(transaction, 'first'),
    await ensureRepository(transaction, 'other'),
  ])
  /** Looks at everything once. `beforeWriting` comes between what it has read and its transaction. */
  const collect = async (ageMs: number, beforeWriting: () => Promise<void> = async () => {}) => {
    const report = { unlinkedBlobs: 0, removedContents: 0, removedBytes: 0 }
    const dependencies = {
      database: pausing(database, beforeWriting),
      store,
      contentTurns,
      references: NOTHING_IS_NEEDED,
      beforeRun: async () => {},
    }
    assert.ok(await new GarbageCollector(dependencies, { ageMs, removalsPerSecond: 0 }).run(report))
    return report
  }
  return { database, blobs, digest, repositoryId, otherId, collect }
}

/** The same database; something happens before each of its transactions. */
function pausing(database: Database, before: () => Promise<void>): Database {
  return {
    read: database.read,
    get version() {
      return database.version
    },
    transaction: async (work) => {
      await before()
      return database.transaction(work)
    },
    check: async () => database.check(),
    copyTo: async (file, migrations) => database.copyTo(file, migrations),
    close: async () => database.close(),
  }
}

test('a blob that somebody is told of stays, though the collector was about to take it from the repository', async (t) => {
  const { blobs, digest, repositoryId, collect } = await storeWithBlob(t)
  await collect(AN_HOUR_MS)
  let pauses = 0
  const report = await collect(0, async () => {
    pauses += 1
    await blobs.keep(repositoryId, digest)
  })
  assert.ok(pauses > 0, 'the collector was about to take it')
  assert.deepEqual(report, { unlinkedBlobs: 0, removedContents: 0, removedBytes: 0 })
  assert.equal(await blobs.has(repositoryId, digest), true)
})

test('a blob that nobody asks for goes in the same two looks', async (t) => {
  const { blobs, digest, repositoryId, collect } = await storeWithBlob(t)
  await collect(AN_HOUR_MS)
  assert.deepEqual(await collect(0), { unlinkedBlobs: 1, removedContents: 1, removedBytes: 1_000 })
  assert.equal(await blobs.has(repositoryId, digest), false)
})

test('content that a repository is given stays, though the collector was about to remove it', async (t) => {
  const { database, blobs, digest, repositoryId, otherId, collect } = await storeWithBlob(t)
  await database.transaction(async (transaction) => blobs.unlink(transaction, repositoryId, digest))
  const report = await collect(0, async () => {
    const isLinked = await database.transaction(async (transaction) => blobs.link(transaction, otherId, digest))
    assert.equal(isLinked, true)
  })
  assert.deepEqual(report, { unlinkedBlobs: 0, removedContents: 0, removedBytes: 0 })
  assert.equal(await blobs.has(otherId, digest), true)
})

test('a repository is not given a blob that was removed since somebody looked for it', async (t) => {
  const { database, blobs, digest, repositoryId, otherId, collect } = await storeWithBlob(t)
  assert.equal(await blobs.has(repositoryId, digest), true)
  await database.transaction(async (transaction) => blobs.unlink(transaction, repositoryId, digest))
  assert.equal((await collect(0)).removedContents, 1)
  assert.equal(await database.transaction(async (transaction) => blobs.link(transaction, otherId, digest)), false)
  assert.equal(await blobs.has(otherId, digest), false)
})
