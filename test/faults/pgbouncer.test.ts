import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomBlob, uniqueName } from '../content.ts'
import { until } from '../harness.ts'
import { startCloudflare } from '../operations/cloudflare.ts'
import { entrepot } from '../operations/command.ts'
import { isPgBouncerPresent, startPgBouncer } from '../pgbouncer.ts'
import { startPostgres } from '../postgres-cluster.ts'
import { describe } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { startInstancesOn } from './instances.ts'
import { stopAgainAndAgain } from './database-stops.ts'
import { assertPulled, pushUntil } from './pushes.ts'

const WAIT_MS = 15_000

test('PostgreSQL that stops and comes back behind PgBouncer loses no acknowledged push, and is only answered with 503', async (t) => {
  if (!(await isPgBouncerPresent(t))) return
  const cluster = await startPostgres()
  t.after(async () => cluster.remove())
  const { registries, configFile } = await startInstancesOn(t, await startPgBouncer(t, cluster), 2)
  const origins = registries.map(({ url }) => url)
  const repository = uniqueName('faults')
  const layer = randomBlob(10_000)
  let isOver = false
  const pushing = Array.from({ length: 4 }, async (_, number) =>
    pushUntil({ origin: origins[number % 2] ?? '', repository, tag: `c${number}-`, layer, isOver: () => isOver }),
  )
  await stopAgainAndAgain(cluster, registries)
  isOver = true
  const pushed = await Promise.all(pushing)
  assert.ok(pushed.some(({ unavailable }) => unavailable > 0))
  await assertPulled(origins, pushed)
  const locks = await cluster.run("select count(*) from pg_locks where locktype = 'advisory'", 'entrepot')
  assert.equal(locks, '0', 'a lock has outlived its transaction')
  await Promise.all(registries.map(async (registry) => registry.stop()))
  await expectSound(t, { config: configFile })
})

test('jobs, the trash and the collector work through PgBouncer, at each instance and from the command line', async (t) => {
  if (!(await isPgBouncerPresent(t))) return
  const cluster = await startPostgres({ fsync: 'off' })
  t.after(async () => cluster.remove())
  const cloudflare = await startCloudflare(t)
  const { clients, configFile } = await startInstancesOn(t, await startPgBouncer(t, cluster), 2, {
    storage: { delete: { enabled: true }, maintenance: { garbagecollection: { age: '0s', interval: '1h' } } },
    cdn: { baseurl: 'https://cdn.example.com', purge: cloudflare.purge },
  })
  const name = uniqueName('faults')
  const digests: string[] = []
  for (const client of clients) {
    const { descriptor } = await client.pushImage(name, { reference: 'v1' })
    digests.push(descriptor.digest)
    const deleted = await client.delete(`/v2/${name}/manifests/${descriptor.digest}`)
    assert.equal(deleted.status, 202, describe(deleted))
  }
  await until(
    () => cloudflare.purges.length === 2,
    WAIT_MS,
    () => `the CDN was told ${cloudflare.purges.length} times`,
  )
  const command = async (...args: string[]) => {
    const { code, stdout, stderr } = await entrepot([...args, '--json', configFile])
    assert.equal(code, 0, stderr)
    return stdout
  }
  const [kept = '', gone = ''] = digests
  await command('trash', 'restore', name, kept)
  await command('trash', 'empty')
  await command('gc')
  for (const client of clients) {
    assert.equal((await client.get(`/v2/${name}/manifests/${kept}`)).status, 200)
    assert.equal((await client.get(`/v2/${name}/manifests/${gone}`)).status, 404)
  }
})
