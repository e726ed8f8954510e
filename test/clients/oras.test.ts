import assert from 'node:assert/strict'
import { copyFile, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { test } from 'node:test'
import { SBOM_TYPE } from './debian-images.ts'
import { pullOverBreakingLine, pullWhole, pushOverBreakingLine, pushWhole } from './every-client.ts'
import { listAt, parseJson, textAt } from './json.ts'
import { sha256OfFile } from './oci-layout.ts'
import { oras, orasPull, orasPush } from './oras.ts'
import { isClientPresent } from './programs.ts'
import { asHeld, childrenOf, subjectOf } from './registry-content.ts'
import { prepare } from './setup.ts'

const HTTP = '--plain-http'

test('oras', async (t) => {
  if (!isClientPresent(t, 'oras')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const client = oras(sandbox)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`

  await t.test('pushes and pulls a Debian image byte for byte', async () => {
    assert.deepEqual(asHeld(await pushWhole(setup, client, 'debian:1')), single)
    await pullWhole(setup, client, 'debian:1')
    assert.deepEqual(await client.pull(remote(`debian@${single.digest}`)), single)
    assert.equal((await sandbox.run('oras', 'resolve', HTTP, remote('debian:1'))).trim(), single.digest)
  })

  await t.test('pushes an index with its images and pulls either architecture', async () => {
    await orasPush(sandbox, images.multi, remote('multi:1'))
    const index = await content.index('multi', '1')
    const arm64 = await images.arm64.held()
    assert.equal(index.digest, (await images.multi.held()).digest)
    assert.deepEqual([...index.images.values()].map(asHeld), [single, arm64])
    assert.equal((await client.pull(remote('multi:1'))).digest, index.digest)
    assert.deepEqual(await (await orasPull(sandbox, remote('multi:1'), '--platform', 'linux/arm64')).held(), arm64)
  })

  await t.test('makes an index of two images that are there', async () => {
    await orasPush(sandbox, images.arm64, remote('debian:arm64'))
    await sandbox.run('oras', 'manifest', 'index', 'create', HTTP, remote('debian:made'), '1', 'arm64')
    const children = childrenOf(await content.manifest('debian', 'made'))
    assert.deepEqual(
      [...children],
      [
        ['amd64', single.digest],
        ['arm64', (await images.arm64.held()).digest],
      ],
    )
  })

  await t.test('pushes and pulls an image with zstd layers', async () => {
    await orasPush(sandbox, images.zstd, remote('zstd:1'))
    assert.deepEqual(asHeld(await content.image('zstd', '1')), await images.zstd.held())
    await pullWhole(setup, client, 'zstd:1')
  })

  await t.test('attaches an artifact to an image, finds it and pulls its file', async () => {
    const file = join(dirname(images.sbom.folder), 'sbom.spdx.json')
    const name = basename(file)
    const cwd = sandbox.newPath('attach')
    await sandbox.run('mkdir', cwd)
    await copyFile(file, join(cwd, name))
    const attach = ['attach', '--no-tty', HTTP, '--disable-path-validation', '--artifact-type', SBOM_TYPE]
    await sandbox.run('oras', ...attach, remote('debian:1'), `${join(cwd, name)}:${SBOM_TYPE}`)

    const [referrer, ...others] = await content.referrers('debian', single.digest)
    assert.deepEqual([referrer?.artifactType, others], [SBOM_TYPE, []])
    const digest = referrer?.digest ?? ''
    assert.equal(subjectOf(await content.manifest('debian', digest)), single.digest)
    const found = parseJson(await sandbox.run('oras', 'discover', HTTP, '--format', 'json', remote('debian:1')))
    assert.deepEqual(
      listAt(found, 'referrers').map((one) => textAt(one, 'digest')),
      [digest],
    )
    await orasPush(sandbox, images.sbom, remote('debian:sbom'))
    assert.equal((await content.referrers('debian', single.digest)).length, 2)

    const output = sandbox.newPath('pulled')
    const pull = ['pull', '--no-tty', HTTP, '--allow-path-traversal', '--output', output]
    await sandbox.run('rm', join(cwd, name))
    await sandbox.run('oras', ...pull, remote(`debian@${digest}`))
    assert.equal(await sha256OfFile(join(cwd, name)), await sha256OfFile(file))
  })

  await t.test('copies an image with its referrers from repository to repository', async () => {
    const ends = ['--from-plain-http', remote('debian:1'), '--to-plain-http', remote('copied/debian:1')]
    await sandbox.run('oras', 'cp', '--no-tty', '--recursive', ...ends)
    assert.deepEqual(asHeld(await content.image('copied/debian', '1')), single)
    const digests = async (repository: string) =>
      (await content.referrers(repository, single.digest)).map((referrer) => referrer.digest).toSorted()
    assert.deepEqual(await digests('copied/debian'), await digests('debian'))
  })

  await t.test('pushes and pulls files that are no image', async () => {
    const cwd = sandbox.newPath('files')
    await sandbox.run('mkdir', cwd)
    await copyFile(join(images.single.folder, 'index.json'), join(cwd, 'index.json'))
    const type = ['--artifact-type', 'application/vnd.entrepot.test']
    const file = `${join(cwd, 'index.json')}:application/json`
    await sandbox.run('oras', 'push', '--no-tty', HTTP, '--disable-path-validation', ...type, remote('files:1'), file)
    const before = await readFile(join(cwd, 'index.json'))
    await sandbox.run('rm', join(cwd, 'index.json'))
    await sandbox.run('oras', 'pull', '--no-tty', HTTP, '--allow-path-traversal', '-o', cwd, remote('files:1'))
    assert.deepEqual(await readFile(join(cwd, 'index.json')), before)
  })

  await t.test('lists repositories and tags', async () => {
    const repositories = (await sandbox.run('oras', 'repo', 'ls', HTTP, registry.host)).trim().split('\n')
    assert.deepEqual(repositories, ['copied/debian', 'debian', 'files', 'multi', 'zstd'])
    const tags = (await sandbox.run('oras', 'repo', 'tags', HTTP, remote('debian'))).trim().split('\n')
    assert.deepEqual(tags, ['1', 'arm64', 'made', 'sbom'])
  })

  await t.test('deletes a referrer, which then is no longer listed', async () => {
    const sbom = await images.sbom.held()
    await sandbox.run('oras', 'manifest', 'delete', HTTP, '--force', remote(`debian@${sbom.digest}`))
    assert.equal(await content.status('debian', 'sbom'), 404)
    const left = await content.referrers('debian', single.digest)
    assert.ok(left.length === 1 && left[0]?.digest !== sbom.digest)
  })

  await t.test('deletes an image and one of its blobs', async () => {
    await sandbox.run('oras', 'manifest', 'delete', HTTP, '--force', remote('zstd:1'))
    assert.equal(await content.status('zstd', (await images.zstd.held()).digest), 404)
    const config = remote(`zstd@${single.config}`)
    await sandbox.run('oras', 'blob', 'fetch', HTTP, '--descriptor', config)
    await sandbox.run('oras', 'blob', 'delete', HTTP, '--force', config)
    const gone = await sandbox.attempt('oras', 'blob', 'fetch', HTTP, '--descriptor', config)
    assert.match(gone.stderr, /not found/)
    assert.deepEqual(asHeld(await content.image('debian', '1')), single, 'the other repositories keep theirs')
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))
  await t.test('finishes a pull whose line broke', async (t) => void (await pullOverBreakingLine(t, setup, client)))
})
