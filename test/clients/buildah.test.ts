import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { buildah, buildahLoad, buildahPull, buildahPush, buildahRun } from './buildah.ts'
import { motd } from './debian-images.ts'
import { pullOverBreakingLine, pullWhole, pushOverBreakingLine, pushWhole } from './every-client.ts'
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from './oci-layout.ts'
import { isClientPresent } from './programs.ts'
import { prepare } from './setup.ts'

const NO_TLS = '--tls-verify=false'

test('buildah', async (t) => {
  if (!isClientPresent(t, 'buildah')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = buildah(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`
  const run = async (...args: string[]) => buildahRun(sandbox, ...args)

  await t.test('pushes and pulls a Debian image', async () => {
    const served = await pushWhole(setup, client, 'debian:1')
    assert.deepEqual([served.mediaType, served.config], [OCI_MANIFEST, single.config])
    await pullWhole(setup, client, 'debian:1')
  })

  await t.test('builds on an image from the registry and pushes the result', async () => {
    await run('rmi', '--all', '--force')
    const container = await run('from', NO_TLS, remote('debian:1'))
    assert.equal(`${await run('run', container, '--', 'cat', '/etc/motd')}\n`, motd('amd64'))
    const file = sandbox.newPath('added')
    await writeFile(file, 'put here by Buildah\n')
    await run('copy', '--quiet', container, file, '/etc/added')
    const id = await run('commit', '--quiet', container)
    for (const [format, mediaType] of [['oci', OCI_MANIFEST] as const, ['v2s2', DOCKER_MANIFEST] as const]) {
      const digest = await buildahPush(sandbox, id, remote(`built:${format}`), '--format', format)
      const served = await content.image('built', format)
      assert.deepEqual([served.digest, served.mediaType], [digest, mediaType])
      assert.deepEqual(served.diffIds.slice(0, -1), single.diffIds)
    }
    await run('rm', container)
    await pullWhole(setup, client, 'built:v2s2')
  })

  await t.test('pushes an index, as OCI and as Docker write it, and pulls either architecture', async () => {
    await content.put(images.multi, 'multi', 'source')
    const arm64 = await images.arm64.held()
    await run('manifest', 'create', 'multi')
    await run('manifest', 'add', NO_TLS, '--all', 'multi', `docker://${remote('multi:source')}`)
    const push = ['manifest', 'push', '--quiet', '--all', NO_TLS]
    await run(...push, '--format', 'oci', 'multi', `docker://${remote('multi:oci')}`)
    await run(...push, '--format', 'v2s2', 'multi', `docker://${remote('multi:docker')}`)
    for (const [tag, mediaType] of [['oci', OCI_INDEX] as const, ['docker', DOCKER_LIST] as const]) {
      const index = await content.index('multi', tag)
      assert.equal(index.mediaType, mediaType)
      assert.deepEqual([...index.images.keys()], ['amd64', 'arm64'])
      const pulled = await buildahPull(sandbox, remote(`multi:${tag}`), '--arch', 'arm64')
      assert.deepEqual(pulled, { ...arm64, digest: index.images.get('arm64')?.digest })
    }
    assert.deepEqual((await buildahPull(sandbox, remote('multi:oci'))).diffIds, single.diffIds)
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    const id = await buildahLoad(sandbox, images.single)
    await buildahPush(sandbox, id, remote('zstd:own'), '--format', 'oci', '--compression-format', 'zstd')
    const { layers } = await content.image('zstd', 'own')
    assert.ok(layers.every((layer) => layer.mediaType.endsWith('+zstd')))
    await pullWhole(setup, client, 'zstd:own')
    await content.put(images.zstd, 'zstd', '1')
    assert.deepEqual(await buildahPull(sandbox, remote('zstd:1')), await images.zstd.held())
  })

  // Buildah 1.28 has no command for artifacts and referrers, nor one that deletes from a registry.
  await t.test('pulls an image that has referrers, and pushing it again keeps them', async () => {
    await content.put(images.single, 'bill', '1')
    await content.put(images.sbom, 'bill', 'sbom')
    assert.deepEqual(await buildahPull(sandbox, remote(`bill@${single.digest}`)), single)
    await buildahPush(sandbox, single.config.replace('sha256:', ''), remote('bill:1'))
    const referrers = await content.referrers('bill', single.digest)
    assert.deepEqual([referrers.length, referrers[0]?.digest], [1, (await images.sbom.held()).digest])
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))
  await t.test('finishes a pull whose line broke', async (t) => void (await pullOverBreakingLine(t, setup, client)))
})
