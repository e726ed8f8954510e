import assert from 'node:assert/strict'
import { test } from 'node:test'
import { containerdClient, containerdPull, startContainerd } from './containerd.ts'
import { motd, SBOM_TYPE } from './debian-images.ts'
import {
  assertResumedByRange,
  pullOverBreakingLine,
  pullWhole,
  pushOverBreakingLine,
  pushWhole,
} from './every-client.ts'
import { isClientPresent } from './programs.ts'
import { asHeld } from './registry-content.ts'
import { prepare } from './setup.ts'

const HTTP = '--plain-http'

test('containerd', async (t) => {
  if (!isClientPresent(t, 'containerd')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const containerd = await startContainerd(sandbox)
  const client = containerdClient(containerd)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`

  await t.test('pushes and pulls a Debian image byte for byte', async () => {
    assert.deepEqual(asHeld(await pushWhole(setup, client, 'debian:1')), single)
    await pullWhole(setup, client, 'debian:1')
    assert.deepEqual(await containerdPull(containerd, remote(`debian@${single.digest}`)), single)
  })

  await t.test('has the files of every layer after a pull', async () => {
    await containerdPull(containerd, remote('debian:1'))
    const folder = sandbox.newPath('mount')
    const mount = `ctr --address ${containerd.socket} images mount ${remote('debian:1')} ${folder} >&2`
    const look = `cat ${folder}/etc/motd && test ! -e ${folder}/etc/issue.net`
    const shown = await sandbox.runIsolated('sh', '-c', `mkdir ${folder} && ${mount} && ${look}`)
    assert.equal(shown, motd('amd64'))
  })

  await t.test('pushes an index with its images and pulls either architecture', async () => {
    await containerd.forget()
    await containerd.load(images.multi, remote('multi:1'))
    await containerd.ctr('images', 'push', HTTP, remote('multi:1'))
    const index = await content.index('multi', '1')
    const arm64 = await images.arm64.held()
    assert.equal(index.digest, (await images.multi.held()).digest)
    assert.deepEqual([...index.images.values()].map(asHeld), [single, arm64])
    const pulled = await containerdPull(containerd, remote('multi:1'), '--all-platforms')
    assert.deepEqual(pulled, { ...single, digest: index.digest })
    const foreign = await containerdPull(containerd, remote('multi:1'), '--platform', 'linux/arm64')
    assert.deepEqual(foreign, { ...arm64, digest: index.digest })
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    await containerd.forget()
    await containerd.load(images.zstd, remote('zstd:1'))
    await containerd.ctr('images', 'push', HTTP, remote('zstd:1'))
    assert.deepEqual(asHeld(await content.image('zstd', '1')), await images.zstd.held())
    await pullWhole(setup, client, 'zstd:1')
  })

  // containerd 1.6 lists no referrers. It fetches an artifact's content, which it then cannot unpack as an image.
  await t.test('pushes an artifact, which the registry then lists under its subject, and fetches it', async () => {
    await containerd.forget()
    await containerd.load(images.sbom, remote('debian:sbom'))
    await containerd.ctr('images', 'push', HTTP, remote('debian:sbom'))
    const sbom = await images.sbom.held()
    const [referrer, ...others] = await content.referrers('debian', single.digest)
    assert.deepEqual([referrer?.digest, referrer?.artifactType, others], [sbom.digest, SBOM_TYPE, []])
    await containerd.forget()
    await containerd.ctr('content', 'fetch', HTTP, remote('debian:sbom'))
    assert.deepEqual(await containerd.held(remote('debian:sbom')), sbom)
  })

  // It has no command that deletes from a registry.
  await t.test('mounts what it pulled from one repository when it pushes to another', async () => {
    await containerdPull(containerd, remote('debian:1'))
    await containerd.ctr('images', 'tag', remote('debian:1'), remote('copied/debian:1'))
    await containerd.ctr('images', 'push', HTTP, remote('copied/debian:1'))
    assert.deepEqual(asHeld(await content.image('copied/debian', '1')), single)
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))

  await t.test('finishes a pull whose line broke, with the missing part only', async (t) => {
    assertResumedByRange(await pullOverBreakingLine(t, setup, client))
  })
})
