import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { freePort, startRegistry, until } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { listAt, parseJson, textAt } from './json.ts'
import { podmanRun } from './podman.ts'
import { areProgramsPresent, run } from './programs.ts'
import { createSandbox, type Sandbox } from './sandbox.ts'

const BUILD = fileURLToPath(new URL('../../deploy/image/build.ts', import.meta.url))
const BUILD_TIMEOUT_MS = 600_000
const PROGRAMS = ['apt-get', 'buildah', 'dpkg-deb', 'git', 'npm', 'oras', 'podman', 'runc', 'skopeo', 'unshare']

/** Builds the image of what is committed; gives the layout and the digest. */
async function build(sandbox: Sandbox): Promise<{ layout: string; digest: string }> {
  const layout = sandbox.newPath('image')
  const printed = await run(process.execPath, [BUILD, '--output', layout, '--tag', 'built'], {
    timeoutMs: BUILD_TIMEOUT_MS,
  })
  return { layout, digest: printed.split(' ')[0] ?? '' }
}

/**
 * Runs a container of the image, on the port of a client, until the work is done. All that Podman does to one container
 * goes on in one namespace.
 */
async function whileRunning(sandbox: Sandbox, image: string, client: RegistryClient, work: () => Promise<void>) {
  const done = sandbox.newPath('done')
  const { host } = new URL(client.origin)
  const options = ['--read-only', '--network=host', '--volume=entrepot-data:/data', `--env=REGISTRY_HTTP_ADDR=${host}`]
  const script = `podman run --detach --name entrepot ${options.join(' ')} ${image} || exit 1
    for i in $(seq 600); do test -e ${done} && break; sleep 0.2; done
    podman logs entrepot; podman stop --time 10 entrepot && podman rm entrepot`
  const running = sandbox.runIsolated('sh', '-c', script)
  try {
    await until(
      async () =>
        client.get('/readyz').then(
          ({ status }) => status === 200,
          () => false,
        ),
      60_000,
      () => 'the container is not ready',
    )
    await work()
  } finally {
    await writeFile(done, '')
    await running
  }
}

test('our container image', async (t) => {
  if (!areProgramsPresent(t, PROGRAMS)) return
  const sandbox = await createSandbox(t)
  const { layout, digest } = await build(sandbox)
  const registry = await startRegistry(t)
  const target = `${registry.host}/entrepot:built`

  await t.test('is the same, digest for digest, when it is built again', async () => {
    assert.equal((await build(sandbox)).digest, digest)
  })

  await t.test('comes with a list of all that is in it, which a registry finds by its digest', async () => {
    await sandbox.run(
      'oras',
      'cp',
      '--no-tty',
      '--recursive',
      '--from-oci-layout',
      `${layout}:built`,
      '--to-plain-http',
      target,
    )
    const client = new RegistryClient(registry.url)
    const referrers = (await client.get(`/v2/entrepot/referrers/${digest}`)).json()
    assert.equal(textAt(referrers, 'manifests', 0, 'artifactType'), 'application/vnd.cyclonedx+json')
    const manifest = (await client.get(`/v2/entrepot/manifests/${textAt(referrers, 'manifests', 0, 'digest')}`)).json()
    const sbom = (await client.get(`/v2/entrepot/blobs/${textAt(manifest, 'layers', 0, 'digest')}`)).json()
    const names = listAt(sbom, 'components').map((component) => textAt(component, 'name'))
    for (const name of ['node', 'fastify', 'libc6', 'ca-certificates']) assert.ok(names.includes(name), name)
    assert.ok(!names.includes('typescript'), 'what only checks is not in it')
  })

  await t.test('runs without root and without a place to write but its data, and keeps them', async () => {
    const id = await podmanRun(sandbox, 'pull', '--quiet', '--tls-verify=false', target)
    const inspected = parseJson(await podmanRun(sandbox, 'image', 'inspect', id))
    assert.equal(textAt(inspected, 0, 'Config', 'User'), '10001:10001')
    const client = new RegistryClient(`http://127.0.0.1:${await freePort()}`)
    await whileRunning(sandbox, id, client, async () => {
      await client.pushImage('kept', { reference: 'v1' })
    })
    await whileRunning(sandbox, id, client, async () => {
      assert.equal((await client.get('/v2/kept/manifests/v1')).status, 200)
    })
  })
})
