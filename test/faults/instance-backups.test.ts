import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { isPostgresPresent } from '../postgres-cluster.ts'
import {
  assertWhole,
  type Image,
  listBackups,
  NO_GRACE,
  pushBesideCollector,
  restoreFrom,
  startLoad,
} from './backup-load.ts'
import { startInstances } from './instances.ts'
import { byTier } from './tier.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))
const KEPT_BEFORE = 30

test('a backup of instances under load has all that was acknowledged before it began, whoever is killed meanwhile', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const instances = await startInstances(t, 3, { storage: { maintenance: NO_GRACE } })
  const { clients, registries, configFile } = instances
  const [commanded, ...others] = registries
  const [client, ...loaded] = clients
  assert.ok(commanded && client)
  const kept: Image[] = []
  for (let index = 0; index < KEPT_BEFORE; index++) {
    kept.push(await pushBesideCollector(client, `kept/${index % 3}`))
  }
  const backups = join(await temporaryFolder(t), 'backups')
  const collect = async () => {
    const { code, stderr } = await entrepot(['gc', '--now', configFile])
    // The instance that it asks may be killed.
    if (code !== 0) assert.match(stderr, /ECONNRESET|socket hang up/)
  }
  for (let round = 0; round < byTier({ quick: 1, ci: 3, release: 20 }); round++) {
    const images: Image[] = []
    const endLoad = startLoad(t, { clients: loaded, collect }, images)
    while (images.length < 20) await sleep(10)
    // The one that the command asks is killed, then the command that does the work itself; the others go on.
    const asked = entrepot(['backup', backups, configFile])
    await sleep(300 + Math.random() * 500)
    await commanded.kill()
    await asked
    const child = spawn(LAUNCHER, ['backup', backups, configFile], { stdio: 'ignore' })
    const timer = setTimeout(() => child.kill('SIGKILL'), 300 + Math.random() * 900)
    await once(child, 'exit')
    clearTimeout(timer)
    const ended = await listBackups(backups)
    const before = images.filter((image) => !image.isDeleted)
    const gone = images.filter((image) => image.isDeleted)
    // What is being deleted just now may be there yet.
    gone.splice(-2)
    const { code, stdout, stderr } = await entrepot(['backup', backups, '--json', configFile])
    assert.equal(code, 0, stdout + stderr)
    await endLoad()
    assert.equal((await listBackups(backups)).length, ended.length + 1)
    const restored = await restoreFrom(t, backups)
    for (const image of [...kept, ...before.filter((image) => !image.isDeleted)]) await assertWhole(restored, image)
    for (const { name, descriptor } of gone) {
      assert.equal((await restored.get(`/v2/${name}/manifests/${descriptor.digest}`)).status, 404)
    }
    await commanded.start()
  }
  assert.ok(others.every((registry) => !registry.output().includes('"level":"error"')))
})

test('a backup whose hold has lapsed is none', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { clients, configFile, runSql } = await startInstances(t, 1)
  await clients[0]?.pushImage('team/app')
  const backups = join(await temporaryFolder(t), 'backups')
  await runSql(`create function lapse() returns trigger language plpgsql as
    $$ begin new.held_until = 0; return new; end $$;
    create trigger lapse before insert on garbage_holds for each row execute function lapse()`)
  const { code, stderr } = await entrepot(['backup', backups, configFile])
  assert.equal(code, 1)
  assert.match(stderr, /the database could not be reached for 60 seconds, .*: do it again/)
  assert.deepEqual(await listBackups(backups), [])
  await runSql('drop trigger lapse on garbage_holds')
  assert.equal((await entrepot(['backup', backups, configFile])).code, 0)
})

test('what a killed backup holds is removed when its hold lapses, and not before', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { collectContents, runSql } = await startWithGarbage(t)
  await runSql(`insert into garbage_holds (id, held_until) values ('killed', ${IN_A_MINUTE})`)
  assert.equal(await collectContents(), 3)
  await runSql(`update garbage_holds set held_until = held_until - 60001`)
  assert.equal(await collectContents(), 0)
})

test('a collector waits for a hold that is being taken', async (t) => {
  if (!(await isPostgresPresent(t))) return
  const { collectContents, runSql } = await startWithGarbage(t)
  const taken = runSql(
    `begin; insert into garbage_holds (id, held_until) values ('taken', ${IN_A_MINUTE}); select pg_sleep(4); commit`,
  )
  await sleep(300)
  assert.equal(await collectContents(), 3)
  await taken
})

const IN_A_MINUTE = 'extract(epoch from clock_timestamp()) * 1000 + 60000'

/** An instance with an image that nothing needs any more; how many contents a run of the collector leaves. */
async function startWithGarbage(t: TestContext) {
  // Nobody collects but who is told to.
  const garbagecollection = { ...NO_GRACE.garbagecollection, enabled: false }
  const maintenance = { ...NO_GRACE, garbagecollection }
  const { clients, configFile, runSql } = await startInstances(t, 1, { storage: { maintenance } })
  const [client] = clients
  assert.ok(client)
  const { name, descriptor } = await pushBesideCollector(client, 'team/app')
  await client.delete(`/v2/${name}/manifests/${descriptor.digest}`)
  const collectContents = async () => {
    const { code, stderr } = await entrepot(['gc', '--now', '--json', configFile])
    assert.equal(code, 0, stderr)
    return Number(await runSql('select count(*) from blobs'))
  }
  return { collectContents, runSql }
}
