import assert from 'node:assert/strict'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DOCKER_ADDRESS, startDocker } from '../clients/docker.ts'
import { areProgramsPresent, run } from '../clients/programs.ts'
import { createSandbox, type Sandbox } from '../clients/sandbox.ts'
import { readBlocks, type Step, stepsOf, toPattern } from '../guide/guide-text.ts'
import { makeStandInImage } from './stand-in-image.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PROGRAMS = ['apt-get', 'buildah', 'debootstrap', 'docker', 'docker-compose', 'dockerd', 'dpkg-deb', 'git', 'ip']
const FURTHER_PROGRAMS = ['minio', 'npm', 'openssl', 'runc', 'skopeo', 'unshare']
const NAME = 'registry.example.com'
const HOME = '/srv/entrepot'
const UPLOADS_OPEN = 'select count(*) > 2 from uploads'
const BUILD_COMMANDS = 'npm ci\nnpm run image\n'
const BUILD_TIMEOUT_MS = 600_000

/** Commands of a person in a folder; gives what they print. */
type Shell = (commands: string) => Promise<string>

/** Makes the image as the guide does, into a folder of the test's own, and gives it to Docker. */
async function loadOwnImage(sandbox: Sandbox, steps: readonly Step[]): Promise<void> {
  const commands = steps.map((step) => step.commands).join('')
  assert.ok(commands.startsWith(BUILD_COMMANDS), 'this test builds what is committed, as that does')
  const build = sandbox.newPath('build')
  await mkdir(build)
  const script = join(ROOT, 'deploy/image/build.ts')
  await run(process.execPath, [script, '--output', `${build}/image`], { timeoutMs: BUILD_TIMEOUT_MS })
  await sandbox.run('sh', '-exc', commands.slice(BUILD_COMMANDS.length).replaceAll('build/', `${build}/`))
}

/** An image of several layers that no registry has yet. */
async function buildImage(sandbox: Sandbox, reference: string, layerMiB: number): Promise<string> {
  const folder = sandbox.newPath('context')
  await mkdir(folder)
  const layers = ['a', 'b', 'c', 'd']
  for (const layer of layers) {
    await run('sh', ['-c', `head -c ${layerMiB * 1024 * 1024} /dev/urandom > ${join(folder, layer)}`])
  }
  await writeFile(join(folder, 'Dockerfile'), ['FROM scratch', ...layers.map((layer) => `COPY ${layer} /`)].join('\n'))
  return (await sandbox.run('docker', 'build', '--quiet', '--tag', reference, folder)).trim()
}

test('the stand of deploy/compose comes up as the guide says, and serves Docker while instances go', async (t) => {
  if (!areProgramsPresent(t, [...PROGRAMS, ...FURTHER_PROGRAMS])) return
  const sandbox = await createSandbox(t)
  const blocks = await readBlocks('production', 'en')
  const home = sandbox.newPath('stand')
  const shell: Shell = async (commands) => sandbox.run('sh', '-exc', `cd ${home}\n${commands}`)
  const tryInHome = async (commands: string) => sandbox.attempt('sh', '-c', `cd ${home} && ${commands}`)
  const take = async (step: Step | undefined) => {
    assert.ok(step !== undefined, 'the guide has no such step')
    const printed = await shell(step.commands)
    if (step.output !== undefined) assert.match(printed.trimEnd(), toPattern(step.output), step.commands)
    return printed
  }
  const follow = async (heading: string) => {
    for (const step of stepsOf(blocks, heading)) await take(step)
  }
  const plugins = join(sandbox.folder, 'home/.docker/cli-plugins')
  await mkdir(plugins)
  await symlink((await run('which', ['docker-compose'])).trim(), join(plugins, 'docker-compose'))

  const [copy, ...prepare] = stepsOf(blocks, 'Prepare')
  assert.equal(copy?.commands, `cp -r deploy/compose ${HOME}\n`)
  await cp(join(ROOT, 'deploy/compose'), home, { recursive: true })

  await t.test('it does not start without passwords, and has none of its own', async () => {
    const { exitCode, stderr } = await tryInHome('docker compose config --quiet')
    assert.notEqual(exitCode, 0)
    assert.match(stderr, /(DATABASE_PASSWORD|STORE_SECRET_KEY).*must be set in \.env/)
  })

  let printed = ''
  for (const step of prepare) printed += await take(step)
  const password = /the password of alice: (\S+)/.exec(printed)?.[1] ?? ''
  assert.match(password, /^[0-9a-f]{24}$/)
  const settings = sandbox.newPath('etc-docker')
  await mkdir(join(settings, 'certs.d', NAME), { recursive: true })
  await cp(join(home, 'secrets/registry.crt'), join(settings, 'certs.d', NAME, 'ca.crt'))
  const hosts = sandbox.newPath('hosts')
  await writeFile(hosts, `127.0.0.1 localhost\n${DOCKER_ADDRESS} ${NAME}\n`)
  const docker = await startDocker(sandbox, { hosts, settings })
  await Promise.all([
    loadOwnImage(sandbox, stepsOf(blocks, 'Make the image')),
    makeStandInImage(sandbox, 'stand-in').then(async () => {
      const compose = await readFile(join(home, 'compose.yaml'), 'utf8')
      for (const name of ['NGINX', 'POSTGRES', 'MINIO']) {
        const image = new RegExp(`\\{${name}_IMAGE:-([^}]+)\\}`).exec(compose)?.[1] ?? name
        await docker.docker('tag', 'stand-in', image)
      }
    }),
  ])
  const login = async (secret: string) =>
    sandbox.attempt('docker', 'login', '--username', 'alice', '--password', secret, NAME)
  const pushesAndPulls = async (reference: string) => {
    const id = await buildImage(sandbox, reference, 1)
    await docker.docker('push', '--quiet', reference)
    await docker.docker('rmi', reference)
    await docker.docker('pull', '--quiet', reference)
    assert.equal(await docker.docker('image', 'inspect', '--format', '{{.Id}}', reference), id)
    return id
  }

  try {
    const [up, logIn, push] = stepsOf(blocks, 'Start')
    await take(up)
    assert.match(logIn?.commands ?? '', /^docker login --username alice registry\.example\.com\n$/)

    await t.test('nobody gets in without a password', async () => {
      assert.match((await login('wrong')).stderr, /401 Unauthorized/)
      const refused = await sandbox.attempt('docker', 'pull', `${NAME}/library/entrepot:0.1.0`)
      assert.match(refused.stderr, /no basic auth credentials/)
    })

    await t.test('Docker logs in over TLS and pushes what it then pulls', async () => {
      assert.equal((await login(password)).exitCode, 0)
      await take(push)
      await pushesAndPulls(`${NAME}/library/first:1`)
    })

    await t.test('a push goes through while an instance is killed, and all can be pulled from the other', async () => {
      const reference = `${NAME}/library/killed:1`
      const id = await buildImage(sandbox, reference, 48)
      const pushed = docker.docker('push', '--quiet', reference)
      await shell(
        `until docker compose exec -T database psql -U entrepot -Atc '${UPLOADS_OPEN}' | grep t; do sleep 0.1; done`,
      )
      await shell('docker compose kill instance-1')
      await pushed
      await docker.docker('rmi', reference)
      await docker.docker('pull', '--quiet', reference)
      assert.equal(await docker.docker('image', 'inspect', '--format', '{{.Id}}', reference), id)
      await shell('docker compose up --detach --wait')
    })

    await t.test('instances are replaced one after the other while Docker pushes and pulls', async () => {
      const replaced = new AbortController()
      const rounds = async () => {
        let count = 0
        while (!replaced.signal.aborted) await pushesAndPulls(`${NAME}/library/rolling:${(count += 1)}`)
        return count
      }
      const replace = async () => follow('Upgrade and restart without an interruption').finally(() => replaced.abort())
      const [count] = await Promise.all([rounds(), replace()])
      assert.ok(count > 1, `only ${count} push while both were replaced`)
    })

    await t.test('health and metrics are where the guide says', async () => {
      await follow('Watch it')
    })

    await t.test('after the loss of the database and of the store a backup brings back what was pushed', async () => {
      const reference = `${NAME}/library/kept:1`
      const id = await pushesAndPulls(reference)
      const [backUp, restore] = stepsOf(blocks, 'Back up')
      await take(backUp)
      await shell('docker compose down --volumes --timeout 10')
      await docker.docker('rmi', reference)
      await take(restore)
      await docker.docker('pull', '--quiet', reference)
      assert.equal(await docker.docker('image', 'inspect', '--format', '{{.Id}}', reference), id)
    })
  } catch (error) {
    t.diagnostic((await tryInHome('docker compose ps --all; docker compose logs --tail 20')).stdout)
    throw error
  } finally {
    // What went wrong before is what the test reports.
    await tryInHome('docker compose down --volumes --timeout 5')
  }
})
