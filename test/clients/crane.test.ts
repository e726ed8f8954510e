import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crane, cranePull } from './crane.ts'
import { SBOM_TYPE } from './debian-images.ts'
import { pullOverBreakingLine, pullWhole, pushOverBreakingLine, pushWhole } from './every-client.ts'
import { isClientPresent } from './programs.ts'
import { asHeld, childrenOf } from './registry-content.ts'
import { prepare } from './setup.ts'

test('crane', async (t) => {
  if (!isClientPresent(t, 'crane')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = crane(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`

  await t.test('pushes and pulls a Debian image byte for byte', async () => {
    assert.deepEqual(asHeld(await pushWhole(setup, client, 'debian:1')), single)
    await pullWhole(setup, client, 'debian:1')
    assert.deepEqual(await client.pull(remote(`debian@${single.digest}`)), single)
    assert.equal((await sandbox.run('crane', 'digest', remote('debian:1'))).trim(), single.digest)
    assert.match(await sandbox.run('crane', 'validate', '--remote', remote('debian:1')), /^PASS/)
  })

  await t.test('pushes an index with its images and pulls either architecture', async () => {
    await sandbox.run('crane', 'push', images.multi.folder, remote('multi:1'))
    const index = await content.index('multi', '1')
    const arm64 = await images.arm64.held()
    assert.equal(index.digest, (await images.multi.held()).digest)
    assert.deepEqual([...index.images.values()].map(asHeld), [single, arm64])
    assert.equal((await (await cranePull(sandbox, remote('multi:1'))).held()).digest, index.digest)
    const pulled = await cranePull(sandbox, remote('multi:1'), '--platform', 'linux/arm64')
    assert.deepEqual(await pulled.held(), arm64)
  })

  await t.test('makes an index of two images that are there', async () => {
    await sandbox.run('crane', 'push', images.arm64.folder, remote('debian:arm64'))
    const parts = ['--manifest', remote('debian:1'), '--manifest', remote('debian:arm64')]
    await sandbox.run('crane', 'index', 'append', ...parts, '--tag', remote('debian:made'))
    const children = childrenOf(await content.manifest('debian', 'made'))
    assert.deepEqual([...children.values()], [single.digest, (await images.arm64.held()).digest])
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    await sandbox.run('crane', 'push', images.zstd.folder, remote('zstd:1'))
    assert.deepEqual(asHeld(await content.image('zstd', '1')), await images.zstd.held())
    await pullWhole(setup, client, 'zstd:1')
  })

  // crane has no command that lists referrers; it pushes what has a subject and pulls what was found elsewhere.
  await t.test('pushes an artifact, which the registry then lists under its subject', async () => {
    await sandbox.run('crane', 'push', images.sbom.folder, remote('debian:sbom'))
    const sbom = await images.sbom.held()
    const [referrer, ...others] = await content.referrers('debian', single.digest)
    assert.deepEqual([referrer?.digest, referrer?.artifactType, others], [sbom.digest, SBOM_TYPE, []])
    assert.deepEqual(await client.pull(remote(`debian@${sbom.digest}`)), sbom)
    const tags = await content.tags('debian')
    assert.ok(!tags.some((tag) => String(tag).startsWith('sha256-')), 'it did not fall back to the referrers tag')
  })

  await t.test('copies from repository to repository without changing a byte', async () => {
    await sandbox.run('crane', 'copy', remote('multi:1'), remote('copied/multi:1'))
    const [from, to] = [await content.index('multi', '1'), await content.index('copied/multi', '1')]
    assert.equal(to.digest, from.digest)
    assert.deepEqual(to.images, from.images)
  })

  await t.test('puts a layer on an image that is there', async () => {
    const layer = sandbox.newPath('layer')
    await sandbox.run('tar', '-C', images.sbom.folder, '-cf', layer, 'oci-layout')
    const from = ['--base', remote('debian:1'), '--new_layer', layer]
    await sandbox.run('crane', 'append', ...from, '--new_tag', remote('appended/debian:1'))
    const made = await content.image('appended/debian', '1')
    assert.deepEqual(made.diffIds.slice(0, -1), single.diffIds)
    await pullWhole(setup, client, 'appended/debian:1')
  })

  await t.test('lists repositories and tags', async () => {
    const repositories = (await sandbox.run('crane', 'catalog', registry.host)).trim().split('\n')
    assert.deepEqual(repositories, ['appended/debian', 'copied/multi', 'debian', 'multi', 'zstd'])
    const tags = (await sandbox.run('crane', 'ls', remote('debian'))).trim().split('\n')
    assert.deepEqual(tags, ['1', 'arm64', 'made', 'sbom'])
  })

  await t.test('deletes a tag, then the manifest', async () => {
    await sandbox.run('crane', 'delete', remote('multi:1'))
    assert.equal(await content.status('multi', '1'), 404)
    const { digest } = await images.multi.held()
    assert.equal(await content.status('multi', digest), 200, 'the manifest outlives its tag')
    await sandbox.run('crane', 'delete', remote(`multi@${digest}`))
    assert.equal(await content.status('multi', digest), 404)
    assert.equal((await content.index('copied/multi', '1')).digest, digest, 'the other repository keeps its own')
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))
  await t.test('finishes a pull whose line broke', async (t) => void (await pullOverBreakingLine(t, setup, client)))
})
