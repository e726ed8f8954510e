import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { randomBlob } from '../content.ts'
import { contentFile } from '../faults/corruptions.ts'
import { startRegistry } from '../harness.ts'
import { assertContent, record, RegistryClient } from '../registry-client.ts'
import { entrepot, temporaryFolder } from './command.ts'
import { collectGarbage, emptyInstallation, folderOf, runJson } from './management-request.ts'

async function contentsOf(folder: string): Promise<string[]> {
  const files = await readdir(join(folder, 'blobs'), { recursive: true, withFileTypes: true })
  return files.filter((file) => file.isFile()).map((file) => `sha256:${file.name}`)
}

test('the next backup copies what is new; those that are not kept go with the content that only they had', async (t) => {
  const maintenance = { trash: { age: '0s' }, garbagecollection: { age: '0s', interval: '1h' } }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  const client = new RegistryClient(registry.url)
  const backups = join(await temporaryFolder(t), 'backups')
  const first = await client.pushImage('team/app', { reference: 'v1' })
  assert.partialDeepStrictEqual(await runJson(registry, ['backup', backups]), { counts: { copied: 3, present: 0 } })
  await client.delete(`/v2/team/app/manifests/${first.descriptor.digest}`)
  await collectGarbage(registry)
  const second = await client.pushImage('team/app', { reference: 'v1' })
  assert.partialDeepStrictEqual(await runJson(registry, ['backup', backups]), { counts: { copied: 3, present: 0 } })
  assert.equal((await contentsOf(backups)).length, 6)

  const { backups: listed } = record(JSON.parse((await entrepot(['backup', '--list', '--json', backups])).stdout))
  assert.ok(Array.isArray(listed) && listed.length === 2)
  const older = record(listed[1])
  assert.partialDeepStrictEqual(older, { contents: 3, missing: 0 })
  const { folder: data, env } = await emptyInstallation(t)
  const chosen = ['restore', '--backup', String(older['id']), backups]
  const restored = await entrepot(chosen, { env })
  assert.equal(restored.code, 0, restored.stderr)
  assert.match(restored.stdout, /^restored \S+: 3 contents: 3 copied .*\n.*: 0 errors\n$/)
  const again = await entrepot(chosen, { env })
  assert.deepEqual(
    [again.code, /there is a registry in .*: restore into an empty folder|has metadata already/.test(again.stderr)],
    [1, true],
  )
  const old = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: data } } } })
  const answer = await new RegistryClient(old.url).get('/v2/team/app/manifests/v1')
  assertContent(answer, { bytes: first.bytes, ...first.descriptor })

  const kept = await runJson(registry, ['backup', backups, '--keep', '1'])
  assert.partialDeepStrictEqual(kept, { counts: { copied: 0, present: 3 } })
  const left = await contentsOf(backups)
  assert.deepEqual([left.length, left.includes(second.descriptor.digest)], [3, true])
})

test('content that is damaged is told, is in no backup, and is told again by the restore', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const layer = await client.pushBlob('team/app', randomBlob(400_000))
  await client.pushImage('team/app', { reference: 'v1' })
  await writeFile(contentFile(registry.dataDirectory, layer.digest), randomBlob(400_000))
  const backups = join(await temporaryFolder(t), 'backups')
  const made = await entrepot(['backup', backups], { env: folderOf(registry) })
  assert.equal(made.code, 1)
  assert.match(made.stdout, new RegExp(`^skipped: content-damaged: ${layer.digest}: `))
  const restored = await entrepot(['restore', backups], { env: (await emptyInstallation(t)).env })
  assert.equal(restored.code, 1)
  assert.match(restored.stdout, new RegExp(`skipped: content-missing: ${layer.digest}: `))
  assert.match(restored.stdout, new RegExp(`error: content-missing: ${layer.digest}`))
})

test('a wrong folder is refused: the data folder, one in it, another data folder, and one without backups', async (t) => {
  const [registry, other] = await Promise.all([startRegistry(t), startRegistry(t)])
  const env = folderOf(registry)
  for (const [folder, reason] of [
    [registry.dataDirectory, /is in the data folder/],
    [join(registry.dataDirectory, 'backups'), /is in the data folder/],
    [other.dataDirectory, /is a data folder/],
  ] as const) {
    const { code, stderr } = await entrepot(['backup', folder], { env })
    assert.equal(code, 1)
    assert.match(stderr, reason)
  }
  const { code, stderr } = await entrepot(['restore', await temporaryFolder(t)], {
    env: (await emptyInstallation(t)).env,
  })
  assert.deepEqual([code, /there is no backup in /.test(stderr)], [1, true])
  assert.equal((await entrepot(['backup', '--keep', '0', 'x'], { env })).code, 2)
})
