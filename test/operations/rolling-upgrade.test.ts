import assert from 'node:assert/strict'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startInstancesOn } from '../faults/instances.ts'
import { assertPulled, pushUntil } from '../faults/pushes.ts'
import { startRegistry } from '../harness.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { describe, RegistryClient } from '../registry-client.ts'
import { copyCheckout } from './checkout.ts'

/** A step of the next version: it adds, and asks nothing of those that do not know it. */
const NEXT_STEP = `
MIGRATIONS.push({
  name: 'next_version',
  up: async ({ schema }) => {
    await schema.createTable('next_things').addColumn('name', 'text', (column) => column.primaryKey()).execute()
    for (const table of ['manifests', 'tags', 'repositories', 'uploads', 'blobs']) {
      await schema.alterTable(table).addColumn('next_count', 'bigint', (column) => column.notNull().defaultTo(0)).execute()
    }
    await schema.createIndex('tags_next_count').on('tags').column('next_count').execute()
  },
})
`

test('the next version upgrades the database while this one serves, both go on, and this one does not start again', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const cluster = await startPostgres({ fsync: 'off' })
  t.after(async () => cluster.remove())
  const url = cluster.url('postgres')
  const { registries, clients, dataDirectory } = await startInstancesOn(t, url, 1)
  const [current] = registries
  const [client] = clients
  assert.ok(current !== undefined && client !== undefined)
  const repository = uniqueName()
  const layer = randomBlob(10_000)
  let isOver = false
  const pushing = [0, 1, 2].map(async (number) =>
    pushUntil({ origin: current.url, repository, tag: `c${number}-`, layer, isOver: () => isOver }),
  )
  const bytes = randomBlob(100_000)
  const upload = await client.startUpload(repository)
  assert.equal((await client.patchChunk(upload, bytes.subarray(0, 50_000))).status, 202)

  const checkout = await copyCheckout(t)
  await appendFile(join(checkout, 'server/src/migrations.ts'), NEXT_STEP)
  const next = await startRegistry(t, {
    launcher: join(checkout, 'bin/entrepot'),
    config: { storage: { filesystem: { rootdirectory: dataDirectory } }, database: { url } },
  })
  assert.equal(await cluster.run("select count(*) from schema_migrations where name = 'next_version'"), '1')
  pushing.push(pushUntil({ origin: next.url, repository, tag: 'next-', layer, isOver: () => isOver }))
  const { pathname } = new URL(upload)
  const put = await new RegistryClient(next.url).putBlob(next.url + pathname, digestOf(bytes), bytes.subarray(50_000))
  assert.equal(put.status, 201, describe(put))
  await sleep(1_000)
  isOver = true
  const pushed = await Promise.all(pushing)
  assert.deepEqual(
    pushed.map(({ unavailable }) => unavailable),
    [0, 0, 0, 0],
  )
  await assertPulled([current.url, next.url], pushed)

  assert.equal(await current.stop(), 0)
  await assert.rejects(current.start(), /upgraded by a newer version of Entrepot.*"next_version".*start that version/)
  await assertPulled([next.url], pushed)
})
