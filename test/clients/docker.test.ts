import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { entrepot } from '../operations/command.ts'
import { folderOf } from '../operations/management-request.ts'
import { motd } from './debian-images.ts'
import { dockerClient, dockerForget, dockerLoad, dockerPull, startDocker } from './docker.ts'
import {
  assertResumedByRange,
  pullOverBreakingLine,
  pullWhole,
  pushOverBreakingLine,
  pushWhole,
} from './every-client.ts'
import { DOCKER_LIST, DOCKER_MANIFEST } from './oci-layout.ts'
import { isClientPresent } from './programs.ts'
import { asHeld } from './registry-content.ts'
import { prepare } from './setup.ts'

test('docker', async (t) => {
  if (!isClientPresent(t, 'docker')) return
  const setup = await prepare(t)
  const { content, images, registry, sandbox } = setup
  const daemon = await startDocker(sandbox)
  const client = dockerClient(daemon)
  const single = await images.single.held()
  const remote = (reference: string) => `${registry.host}/${reference}`
  const docker = async (...args: string[]) => daemon.docker(...args)

  await t.test('pushes and pulls a Debian image', async () => {
    const served = await pushWhole(setup, client, 'debian:1')
    assert.deepEqual([served.mediaType, served.config], [DOCKER_MANIFEST, single.config])
    await pullWhole(setup, client, 'debian:1')
    assert.equal((await dockerPull(daemon, remote(`debian@${served.digest}`))).digest, served.digest)
  })

  await t.test('loads an image that was exported, and what it saves is imported as the same image', async () => {
    const [exported, saved] = [sandbox.newPath('exported.tar'), sandbox.newPath('saved.tar')]
    const env = folderOf(registry)
    const out = await entrepot(['export', 'docker-archive', 'debian:1', exported], { env })
    assert.equal(out.code, 0, out.stderr)
    await dockerForget(daemon)
    await docker('load', '--quiet', '--input', exported)
    assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', 'debian:1'), single.config)
    await docker('save', '--output', saved, 'debian:1')
    const back = await entrepot(['import', 'docker-archive', saved, '--as', 'saved:1'], { env })
    assert.equal(back.code, 0, back.stderr)
    const pulled = await dockerPull(daemon, remote('saved:1'))
    assert.deepEqual([pulled.config, pulled.diffIds], [single.config, single.diffIds])
  })

  await t.test('has the files of every layer after a pull', async () => {
    await dockerPull(daemon, remote('debian:1'))
    const container = await docker('create', remote('debian:1'))
    const folder = sandbox.newPath('etc')
    await docker('cp', `${container}:/etc`, folder)
    await docker('rm', container)
    assert.equal(await readFile(join(folder, 'motd'), 'utf8'), motd('amd64'), 'changed by the last layer')
    assert.match(await readFile(join(folder, 'debian_version'), 'utf8'), /^12\./)
    assert.ok(!existsSync(join(folder, 'issue.net')), 'removed by the last layer')
  })

  await t.test('pushes an image made from one that it pulled, and mounts the layers below', async () => {
    await dockerPull(daemon, remote('debian:1'))
    const container = await docker('create', remote('debian:1'))
    const file = sandbox.newPath('added')
    await writeFile(file, 'put here by Docker\n')
    await docker('cp', file, `${container}:/etc/added`)
    await docker('commit', container, remote('made/debian:1'))
    await docker('rm', container)
    const said = await docker('push', remote('made/debian:1'))
    assert.equal(said.match(/Mounted from debian/g)?.length, single.diffIds.length)
    const made = await content.image('made/debian', '1')
    assert.deepEqual(made.diffIds.slice(0, -1), single.diffIds)
    await pullWhole(setup, client, 'made/debian:1')
  })

  // Docker 20.10 makes lists of manifests that are in the registry; it cannot push an index as one thing.
  await t.test('makes a manifest list in the registry and pulls either architecture', async () => {
    await dockerForget(daemon)
    for (const architecture of ['amd64', 'arm64'] as const) {
      await dockerLoad(daemon, images.archives[architecture], remote(`made:${architecture}`))
      await docker('push', '--quiet', remote(`made:${architecture}`))
    }
    await docker('manifest', 'create', '--insecure', remote('made:1'), remote('made:amd64'), remote('made:arm64'))
    const digest = await docker('manifest', 'push', '--insecure', remote('made:1'))
    const list = await content.index('made', '1')
    assert.deepEqual([list.digest, list.mediaType], [digest, DOCKER_LIST])
    for (const architecture of ['amd64', 'arm64']) {
      const pulled = await dockerPull(daemon, remote('made:1'), '--platform', `linux/${architecture}`)
      assert.equal(pulled.config, list.images.get(architecture)?.config)
    }
  })

  await t.test('pulls either architecture of an OCI index, by tag and by digest', async () => {
    await content.put(images.multi, 'multi', '1')
    const { digest } = await images.multi.held()
    assert.deepEqual(await dockerPull(daemon, remote('multi:1')), { ...single, digest })
    assert.deepEqual(await dockerPull(daemon, remote(`multi@${digest}`)), { ...single, digest })
    const arm64 = await images.arm64.held()
    const pulled = await dockerPull(daemon, remote('multi:1'), '--platform', 'linux/arm64')
    assert.deepEqual([pulled.config, pulled.diffIds], [arm64.config, arm64.diffIds])
    assert.deepEqual(await dockerPull(daemon, remote(`multi@${arm64.digest}`)), arm64)
  })

  // Docker learnt zstd in version 23; before, it gets the layers whole and then cannot unpack them.
  await t.test('pulls an image with zstd layers, as far as it knows zstd', async () => {
    await content.put(images.zstd, 'zstd', '1')
    if (Number.parseInt(daemon.version, 10) >= 23) {
      assert.deepEqual(await dockerPull(daemon, remote('zstd:1')), await images.zstd.held())
      return
    }
    const { stdout, stderr } = await sandbox.attempt('docker', 'pull', remote('zstd:1'))
    // What it has not downloaded yet when the first layer fails is given up.
    assert.match(stdout, /Download complete/)
    assert.match(stderr, /failed to register layer.*invalid tar header/)
  })

  // It knows no artifacts and no referrers, and has no command that deletes from a registry.
  await t.test('pulls an image that has referrers, and pushing it again keeps them', async () => {
    await content.put(images.single, 'bill', '1')
    await content.put(images.sbom, 'bill', 'sbom')
    assert.deepEqual(await dockerPull(daemon, remote(`bill@${single.digest}`)), single)
    await docker('tag', single.config, remote('bill:2'))
    await docker('push', '--quiet', remote('bill:2'))
    const referrers = await content.referrers('bill', single.digest)
    assert.deepEqual([referrers.length, referrers[0]?.digest], [1, (await images.sbom.held()).digest])
    assert.deepEqual(asHeld(await content.image('bill', '1')), single)
  })

  await t.test('finishes a push whose line broke', async (t) => pushOverBreakingLine(t, setup, client))

  await t.test('finishes a pull whose line broke, with the missing part only', async (t) => {
    assertResumedByRange(await pullOverBreakingLine(t, setup, client))
  })
})
