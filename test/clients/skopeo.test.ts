import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flipContent } from '../faults/flipped-content.ts'
import { SBOM_TYPE, TAG } from './debian-images.ts'
import { pullOverBreakingLine, pullWhole, pushOverBreakingLine, pushWhole } from './every-client.ts'
import { listAt, parseJson, textAt } from './json.ts'
import { DOCKER_MANIFEST, OciLayout } from './oci-layout.ts'
import { isClientPresent } from './programs.ts'
import { asHeld } from './registry-content.ts'
import { prepare } from './setup.ts'
import { skopeo, skopeoCopy, skopeoPull } from './skopeo.ts'

const local = (layout: OciLayout) => `oci:${layout.folder}:${TAG}`

test('skopeo', async (t) => {
  if (!isClientPresent(t, 'skopeo')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = skopeo(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `docker://${registry.host}/${reference}`

  await t.test('pushes and pulls a Debian image byte for byte', async () => {
    assert.deepEqual(asHeld(await pushWhole(setup, client, 'debian:1')), single)
    await pullWhole(setup, client, 'debian:1')
    const pulled = await skopeoPull(sandbox, `${registry.host}/debian@${single.digest}`)
    assert.deepEqual(await pulled.held(), single)
  })

  await t.test('pushes an index with its images and pulls either architecture', async () => {
    await skopeoCopy(sandbox, local(images.multi), remote('multi:1'), '--all')
    const index = await content.index('multi', '1')
    assert.equal(index.digest, (await images.multi.held()).digest)
    const arm64 = await images.arm64.held()
    assert.deepEqual([...index.images.values()].map(asHeld), [single, arm64])
    assert.equal((await (await skopeoPull(sandbox, `${registry.host}/multi:1`, '--all')).held()).digest, index.digest)
    const layout = sandbox.newPath('arm64')
    const copy = ['copy', '--quiet', '--src-tls-verify=false', remote('multi:1'), `oci:${layout}:${TAG}`]
    await sandbox.runIsolated('skopeo', '--override-arch', 'arm64', ...copy)
    assert.deepEqual(await new OciLayout(layout).held(), arm64)
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    const zstd = await images.zstd.held()
    await skopeoCopy(sandbox, local(images.zstd), remote('zstd:1'))
    const served = await content.image('zstd', '1')
    assert.deepEqual(asHeld(served), zstd)
    assert.ok(served.layers.every((layer) => layer.mediaType.endsWith('+zstd')))
    assert.deepEqual(await client.pull(`${registry.host}/zstd:1`), zstd)
  })

  await t.test('pushes an image in Docker format and pulls it', async () => {
    await skopeoCopy(sandbox, local(images.single), remote('docker-format:1'), '--format', 'v2s2')
    assert.equal((await content.image('docker-format', '1')).mediaType, DOCKER_MANIFEST)
    await pullWhole(setup, client, 'docker-format:1')
  })

  // Skopeo 1.9 has no command for referrers, but carries an artifact that has a subject like any image.
  await t.test('pushes an artifact, which the registry then lists under its subject', async () => {
    await skopeoCopy(sandbox, local(images.single), remote('bill:1'))
    await skopeoCopy(sandbox, local(images.sbom), remote('bill:sbom'))
    const sbom = await images.sbom.held()
    const [referrer, ...others] = await content.referrers('bill', single.digest)
    assert.deepEqual([referrer?.digest, referrer?.artifactType, others], [sbom.digest, SBOM_TYPE, []])
    assert.deepEqual(await client.pull(`${registry.host}/bill:sbom`), sbom)
  })

  await t.test('makes an image whole that has decayed on the disk, by pushing it again', async () => {
    const { layers } = await content.image('debian', '1')
    const digest = layers[0]?.digest ?? ''
    // What is still right in memory would be served.
    await registry.stop()
    await flipContent(registry.dataDirectory, digest)
    await registry.start()
    await assert.rejects(client.pull(`${registry.host}/debian:1`))
    await pushWhole(setup, client, 'debian:1')
    await pullWhole(setup, client, 'debian:1')
  })

  await t.test('copies from repository to repository without changing a byte', async () => {
    await skopeoCopy(sandbox, remote('multi:1'), remote('copied/multi:1'), '--all')
    const [from, to] = [await content.index('multi', '1'), await content.index('copied/multi', '1')]
    assert.equal(to.digest, from.digest)
    assert.deepEqual(to.images, from.images)
  })

  await t.test('synchronises a repository with all its tags', async () => {
    const ends = ['--src', 'docker', '--src-tls-verify=false', '--dest', 'docker', '--dest-tls-verify=false']
    await sandbox.runIsolated('skopeo', 'sync', '--all', ...ends, `${registry.host}/bill`, `${registry.host}/mirror`)
    assert.deepEqual(await content.tags('mirror/bill'), ['1', 'sbom'])
    assert.deepEqual(asHeld(await content.image('mirror/bill', '1')), single)
    assert.equal((await content.referrers('mirror/bill', single.digest)).length, 1)
  })

  await t.test('inspects an image and lists tags', async () => {
    const image = await sandbox.runIsolated('skopeo', 'inspect', '--tls-verify=false', remote('debian:1'))
    assert.equal(textAt(parseJson(image), 'Digest'), single.digest)
    const tags = await sandbox.runIsolated('skopeo', 'list-tags', '--tls-verify=false', remote('bill'))
    assert.deepEqual(listAt(parseJson(tags), 'Tags'), ['1', 'sbom'])
  })

  await t.test('deletes an image', async () => {
    await sandbox.runIsolated('skopeo', 'delete', '--tls-verify=false', remote('debian:1'))
    assert.equal(await content.status('debian', '1'), 404)
    assert.equal(await content.status('debian', single.digest), 404)
    assert.deepEqual(asHeld(await content.image('bill', '1')), single, 'the other repositories keep theirs')
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))
  await t.test('finishes a pull whose line broke', async (t) => void (await pullOverBreakingLine(t, setup, client)))
})
