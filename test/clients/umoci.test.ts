import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { motd, SBOM_TYPE, TAG } from './debian-images.ts'
import { pullOverBreakingLine, pullWhole, pushOverBreakingLine, pushWhole } from './every-client.ts'
import { isClientPresent } from './programs.ts'
import { asHeld } from './registry-content.ts'
import { prepare } from './setup.ts'
import { skopeoCopy, skopeoPull } from './skopeo.ts'
import { umoci, umociPull } from './umoci.ts'

test('umoci', async (t) => {
  if (!isClientPresent(t, 'umoci')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = umoci(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`

  await t.test('pushes and pulls a Debian image', async () => {
    await pushWhole(setup, client, 'debian:1')
    await pullWhole(setup, client, 'debian:1')
  })

  await t.test('unpacks an image from the registry, changes it and pushes it with one layer more', async () => {
    await content.put(images.single, 'changed', 'before')
    const { layout, bundle } = await umociPull(sandbox, remote('changed:before'))
    const file = (path: string) => join(bundle, 'rootfs', path)
    assert.equal(await readFile(file('etc/motd'), 'utf8'), motd('amd64'), 'changed by the last layer')
    assert.match(await readFile(file('etc/debian_version'), 'utf8'), /^12\./)
    assert.ok(!existsSync(file('etc/issue.net')), 'removed by the last layer')
    await writeFile(file('etc/added'), 'put here by umoci\n')
    await rm(file('etc/motd'))
    await sandbox.run('umoci', 'repack', '--image', `${layout.folder}:after`, bundle)
    await skopeoCopy(sandbox, `oci:${layout.folder}:after`, `docker://${remote('changed:after')}`)
    const served = await content.image('changed', 'after')
    assert.deepEqual(served.diffIds.slice(0, -1), single.diffIds)

    const again = await umociPull(sandbox, remote('changed:after'))
    assert.deepEqual(await again.layout.held(), asHeld(served))
    assert.equal(await readFile(join(again.bundle, 'rootfs/etc/added'), 'utf8'), 'put here by umoci\n')
    assert.ok(!existsSync(join(again.bundle, 'rootfs/etc/motd')))
  })

  // umoci 0.4 works on the image of one platform: Skopeo picks it out of the index.
  await t.test('unpacks the image of either architecture out of an index', async () => {
    await content.put(images.multi, 'multi', '1')
    for (const architecture of ['amd64', 'arm64']) {
      const layout = sandbox.newPath('layout')
      const copy = ['copy', '--quiet', '--src-tls-verify=false', `docker://${remote('multi:1')}`]
      const pick = ['--override-arch', architecture]
      await sandbox.runIsolated('skopeo', ...pick, ...copy, `oci:${layout}:${TAG}`)
      const bundle = sandbox.newPath('bundle')
      await sandbox.run('umoci', 'unpack', '--image', `${layout}:${TAG}`, bundle)
      assert.equal(await readFile(join(bundle, 'rootfs/etc/motd'), 'utf8'), motd(architecture))
    }
  })

  // umoci 0.4 cannot unpack zstd layers; it tags, describes and cleans up what it does not unpack.
  await t.test('handles an image with zstd layers without unpacking it', async () => {
    await content.put(images.zstd, 'zstd', '1')
    const layout = await skopeoPull(sandbox, remote('zstd:1'))
    await sandbox.run('umoci', 'tag', '--image', `${layout.folder}:${TAG}`, 'second')
    await sandbox.run('umoci', 'gc', '--layout', layout.folder)
    assert.match(await sandbox.run('umoci', 'stat', '--image', `${layout.folder}:second`), /debootstrap/)
    await skopeoCopy(sandbox, `oci:${layout.folder}:second`, `docker://${remote('zstd:second')}`)
    assert.deepEqual(asHeld(await content.image('zstd', 'second')), await images.zstd.held())
  })

  // It knows neither referrers nor registries; what a subject refers to survives its clean-up and the way back.
  await t.test('carries an artifact through a layout, and the registry lists it under its subject', async () => {
    await content.put(images.single, 'bill', '1')
    const folder = sandbox.newPath('sbom')
    await sandbox.run('cp', '--recursive', images.sbom.folder, folder)
    await sandbox.run('umoci', 'tag', '--image', `${folder}:${TAG}`, 'sbom')
    await skopeoCopy(sandbox, `oci:${folder}:sbom`, `docker://${remote('bill:sbom')}`)
    const [referrer, ...others] = await content.referrers('bill', single.digest)
    assert.deepEqual([referrer?.digest, others], [(await images.sbom.held()).digest, []])
    assert.equal(referrer?.artifactType, SBOM_TYPE)
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))
  await t.test('finishes a pull whose line broke', async (t) => void (await pullOverBreakingLine(t, setup, client)))
})
