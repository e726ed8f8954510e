import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { motd, TAG } from './debian-images.ts'
import { pullOverBreakingLine, pullWhole, pushOverBreakingLine, pushWhole } from './every-client.ts'
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from './oci-layout.ts'
import { podman, podmanLoad, podmanPull, podmanPush, podmanRun } from './podman.ts'
import { isClientPresent } from './programs.ts'
import { childrenOf } from './registry-content.ts'
import { prepare } from './setup.ts'

const NO_TLS = '--tls-verify=false'

test('podman', async (t) => {
  if (!isClientPresent(t, 'podman')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = podman(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`
  const run = async (...args: string[]) => podmanRun(sandbox, ...args)

  await t.test('pushes and pulls a Debian image', async () => {
    const served = await pushWhole(setup, client, 'debian:1')
    assert.deepEqual([served.mediaType, served.config], [OCI_MANIFEST, single.config])
    await pullWhole(setup, client, 'debian:1')
    assert.equal((await podmanPull(sandbox, remote(`debian@${served.digest}`))).digest, served.digest)
  })

  await t.test('has the files of every layer after a pull', async () => {
    await podmanPull(sandbox, remote('debian:1'))
    const container = await run('create', remote('debian:1'))
    const folder = sandbox.newPath('etc')
    await run('cp', `${container}:/etc`, folder)
    await run('rm', container)
    assert.equal(await readFile(join(folder, 'motd'), 'utf8'), motd('amd64'), 'changed by the last layer')
    assert.match(await readFile(join(folder, 'debian_version'), 'utf8'), /^12\./)
    assert.ok(!existsSync(join(folder, 'issue.net')), 'removed by the last layer')
  })

  await t.test('pushes an image in Docker format and pulls it', async () => {
    await podmanPush(sandbox, remote('debian:1'), remote('docker-format:1'), '--format', 'v2s2')
    assert.equal((await content.image('docker-format', '1')).mediaType, DOCKER_MANIFEST)
    await pullWhole(setup, client, 'docker-format:1')
  })

  await t.test('pushes an index, as OCI and as Docker write it, and pulls either architecture', async () => {
    await run('rmi', '--all', '--force')
    const arm64 = await images.arm64.held()
    await run('manifest', 'create', 'multi')
    for (const layout of [images.single, images.arm64]) {
      await run('manifest', 'add', 'multi', `oci:${layout.folder}:${TAG}`)
    }
    const push = ['manifest', 'push', '--quiet', '--all', NO_TLS]
    await run(...push, 'multi', `docker://${remote('multi:oci')}`)
    await run(...push, '--format', 'v2s2', 'multi', `docker://${remote('multi:docker')}`)
    for (const [tag, mediaType] of [['oci', OCI_INDEX] as const, ['docker', DOCKER_LIST] as const]) {
      const index = await content.index('multi', tag)
      assert.equal(index.mediaType, mediaType)
      assert.deepEqual([...index.images.keys()], ['amd64', 'arm64'])
      const pulled = await podmanPull(sandbox, remote(`multi:${tag}`), '--arch', 'arm64')
      assert.deepEqual(pulled.diffIds, arm64.diffIds)
      assert.equal(pulled.config, index.images.get('arm64')?.config)
    }
    assert.deepEqual((await podmanPull(sandbox, remote('multi:oci'))).diffIds, single.diffIds)
    const children = childrenOf(await content.manifest('multi', 'oci'))
    assert.deepEqual([...children.values()], [single.digest, arm64.digest], 'its images were pushed byte for byte')
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    const id = await podmanLoad(sandbox, images.single)
    await podmanPush(sandbox, id, remote('zstd:own'), '--format', 'oci', '--compression-format', 'zstd')
    const { layers } = await content.image('zstd', 'own')
    assert.ok(layers.every((layer) => layer.mediaType.endsWith('+zstd')))
    await pullWhole(setup, client, 'zstd:own')
    await content.put(images.zstd, 'zstd', '1')
    assert.deepEqual(await podmanPull(sandbox, remote('zstd:1')), await images.zstd.held())
  })

  // Podman 4.3 has no command for artifacts and referrers, and refuses to pull what is no image.
  await t.test('pulls an image that has referrers, and pushing it again keeps them', async () => {
    await content.put(images.single, 'bill', '1')
    await content.put(images.sbom, 'bill', 'sbom')
    assert.deepEqual(await podmanPull(sandbox, remote(`bill@${single.digest}`)), single)
    await podmanPush(sandbox, single.config.replace('sha256:', ''), remote('bill:1'))
    const referrers = await content.referrers('bill', single.digest)
    assert.deepEqual([referrers.length, referrers[0]?.digest], [1, (await images.sbom.held()).digest])
  })

  // It has no command that deletes from a registry either.
  await t.test('finds repositories and tags', async () => {
    const found = await run('search', NO_TLS, '--format', '{{.Name}}', remote('multi'))
    assert.deepEqual(found.split('\n'), [remote('multi')])
    const [, ...tags] = (await run('search', NO_TLS, '--list-tags', remote('multi'))).split('\n')
    assert.deepEqual(
      tags.map((line) => line.split(/\s+/)[1]),
      ['docker', 'oci'],
    )
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))
  await t.test('finishes a pull whose line broke', async (t) => void (await pullOverBreakingLine(t, setup, client)))
})
