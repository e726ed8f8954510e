import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { startRegistry } from '../harness.ts'
import { startBreakingProxy } from './breaking-proxy.ts'
import { SBOM_TYPE } from './debian-images.ts'
import {
  assertResumedByRange,
  pullOverBreakingLine,
  pullWhole,
  pushOverBreakingLine,
  pushWhole,
} from './every-client.ts'
import { listAt, parseJson, textAt } from './json.ts'
import { isClientPresent } from './programs.ts'
import { asHeld, childrenOf, RegistryContent, subjectOf } from './registry-content.ts'
import { regctl, regctlPull, regctlPush, regctlRun } from './regctl.ts'
import { prepare } from './setup.ts'

const MIB = 1024 * 1024

test('regctl', async (t) => {
  if (!isClientPresent(t, 'regctl')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = regctl(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`
  const run = async (...args: string[]) => regctlRun(sandbox, remote(''), ...args)
  const lines = async (...args: string[]) => (await run(...args)).trim().split('\n')

  await t.test('pushes and pulls a Debian image byte for byte', async () => {
    assert.deepEqual(asHeld(await pushWhole(setup, client, 'debian:1')), single)
    await pullWhole(setup, client, 'debian:1')
    assert.deepEqual(await (await regctlPull(sandbox, remote(`debian@${single.digest}`))).held(), single)
    assert.equal((await run('image', 'digest', remote('debian:1'))).trim(), single.digest)
  })

  await t.test('pushes an index with its images and pulls either architecture', async () => {
    await regctlPush(sandbox, images.multi, remote('multi:1'))
    const index = await content.index('multi', '1')
    const arm64 = await images.arm64.held()
    assert.equal(index.digest, (await images.multi.held()).digest)
    assert.deepEqual([...index.images.values()].map(asHeld), [single, arm64])
    assert.equal((await client.pull(remote('multi:1'))).digest, index.digest)
    assert.deepEqual(await (await regctlPull(sandbox, remote('multi:1'), '--platform', 'linux/arm64')).held(), arm64)
  })

  await t.test('makes an index of two images that are there', async () => {
    await regctlPush(sandbox, images.arm64, remote('debian:arm64'))
    const parts = ['--ref', remote('debian:1'), '--ref', remote('debian:arm64')]
    await run('index', 'create', remote('debian:made'), ...parts)
    const children = childrenOf(await content.manifest('debian', 'made'))
    assert.deepEqual([...children.values()], [single.digest, (await images.arm64.held()).digest])
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    await regctlPush(sandbox, images.zstd, remote('zstd:1'))
    assert.deepEqual(asHeld(await content.image('zstd', '1')), await images.zstd.held())
    await pullWhole(setup, client, 'zstd:1')
  })

  await t.test('puts an artifact on an image and finds it by its type', async () => {
    const file = join(images.sbom.folder, '../sbom.spdx.json')
    const what = ['--artifact-type', SBOM_TYPE, '--file', file, '--file-media-type', SBOM_TYPE]
    await run('artifact', 'put', ...what, '--subject', remote('debian:1'))
    const [referrer, ...others] = await content.referrers('debian', single.digest)
    assert.deepEqual([referrer?.artifactType, others], [SBOM_TYPE, []])
    assert.equal(subjectOf(await content.manifest('debian', referrer?.digest ?? '')), single.digest)

    const list = async (type: string) => {
      const format = ['--format', '{{jsonPretty .}}', '--filter-artifact-type', type]
      const found = parseJson(await run('artifact', 'list', ...format, remote('debian:1')))
      return listAt(found, 'descriptors').map((one) => textAt(one, 'digest'))
    }
    assert.deepEqual(await list(SBOM_TYPE), [referrer?.digest])
    assert.deepEqual(await list('application/vnd.entrepot.other'), [])
    const fetched = await run('artifact', 'get', '--subject', remote('debian:1'), '--filter-artifact-type', SBOM_TYPE)
    assert.equal(fetched, await sandbox.run('cat', file))
  })

  await t.test('copies an image with its referrers from repository to repository', async () => {
    await run('image', 'copy', '--referrers', remote('debian:1'), remote('copied/debian:1'))
    assert.deepEqual(asHeld(await content.image('copied/debian', '1')), single)
    const digests = async (repository: string) =>
      (await content.referrers(repository, single.digest)).map((referrer) => referrer.digest)
    assert.deepEqual(await digests('copied/debian'), await digests('debian'))
  })

  await t.test('lists repositories and tags, page by page', async () => {
    assert.deepEqual(await lines('repo', 'ls', registry.host), ['copied/debian', 'debian', 'multi', 'zstd'])
    assert.deepEqual(await lines('tag', 'ls', '--limit', '2', remote('debian')), ['1', 'arm64'])
    assert.deepEqual(await lines('tag', 'ls', '--limit', '2', '--last', 'arm64', remote('debian')), ['made'])
  })

  await t.test('deletes a tag and leaves the manifest', async () => {
    await run('tag', 'delete', remote('multi:1'))
    assert.equal(await content.status('multi', '1'), 404)
    assert.equal(await content.status('multi', (await images.multi.held()).digest), 200)
  })

  await t.test('deletes a manifest and then a blob that it used', async () => {
    const zstd = await images.zstd.held()
    await run('manifest', 'delete', remote(`zstd@${zstd.digest}`))
    assert.equal(await content.status('zstd', zstd.digest), 404)
    assert.equal(await content.status('zstd', '1'), 404, 'its tag went with it')
    await run('blob', 'head', remote('zstd'), zstd.config)
    await run('blob', 'delete', remote('zstd'), zstd.config)
    await assert.rejects(run('blob', 'head', remote('zstd'), zstd.config), /not found/)
    assert.deepEqual(asHeld(await content.image('debian', '1')), single, 'the other repositories keep theirs')
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))

  await t.test('finishes a pull whose line broke, with the missing part only', async (t) => {
    assertResumedByRange(await pullOverBreakingLine(t, setup, client))
  })

  await t.test('pushes in chunks and takes an upload up again where the line broke', async (t) => {
    const empty = await startRegistry(t)
    const proxy = await startBreakingProxy(t, empty.host)
    const chunks = ['--blob-max', String(MIB), '--blob-chunk', String(MIB)]
    await sandbox.run('regctl', 'registry', 'set', proxy.host, '--tls', 'disabled', '--skip-check', ...chunks)
    proxy.breakUploadAt(5.5 * MIB)
    const source = `ocidir://${images.single.folder}:bookworm`
    await sandbox.run('regctl', 'image', 'copy', source, `${proxy.host}/chunked:1`)
    assert.deepEqual(asHeld(await new RegistryContent(empty.url).image('chunked', '1')), single)
    const broken = proxy.passages.findIndex((passage) => passage.isBroken)
    // Other blobs are on their way at the same time.
    const ofUpload = proxy.passages.slice(broken).filter(({ path }) => path === proxy.passages[broken]?.path)
    const next = ofUpload.find((passage) => passage.method === 'PATCH' && passage.status === 202)
    const [start] = next?.contentRange?.split('-') ?? []
    assert.ok(Number(start) >= 5 * MIB, `it went on at byte ${start}`)
    const blobs = single.diffIds.length + 1
    assert.equal(proxy.passages.filter((passage) => passage.method === 'POST').length, blobs, 'no upload began again')
  })
})
