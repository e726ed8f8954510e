import { writeFile } from 'node:fs/promises'
import { until } from '../harness.ts'
import type { Client } from './client.ts'
import { at, listAt, parseJson, textAt } from './json.ts'
import type { HeldImage } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

const START_TIMEOUT_MS = 60_000

/** A Docker daemon of this test's own, spoken to by `docker`. */
export interface Docker {
  docker(...args: string[]): Promise<string>
  /** The version of the daemon. */
  readonly version: string
}

/** Where containers can be run: a network of the daemon's own, in which published ports are, too. */
export interface DockerNetwork {
  /** What is `/etc/hosts` there. */
  readonly hosts: string
  /** What is `/etc/docker` there, with the authorities that the daemon believes. */
  readonly settings: string
}

/** The address of the machine in such a network; to a daemon loopback would be a place without TLS. */
export const DOCKER_ADDRESS = '172.31.251.1'
const IN_OWN_NETWORK = `ip link set lo up && mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/docker && shift 2 &&
  exec "$@"`

/** @param network without it the daemon has none, and can push and pull alone. */
export async function startDocker(sandbox: Sandbox, network?: DockerNetwork): Promise<Docker> {
  const folder = sandbox.newPath('docker')
  const settings = `${folder}.json`
  await writeFile(
    settings,
    JSON.stringify({
      'data-root': `${folder}/data`,
      'exec-root': `${folder}/exec`,
      pidfile: `${folder}.pid`,
      hosts: [sandbox.dockerHost],
      ...(network === undefined
        ? { bridge: 'none', iptables: false, ip6tables: false }
        : { bip: `${DOCKER_ADDRESS}/24` }),
      'deprecated-key-path': `${folder}.key`,
      // Newer daemons would keep images in containerd, whose own test is beside this one.
      features: { 'containerd-snapshotter': false },
    }),
  )
  const inNetwork =
    network === undefined ? [] : ['unshare', '--net', 'sh', '-c', IN_OWN_NETWORK, 'sh', network.hosts, network.settings]
  const [command, ...args] = [...inNetwork, 'dockerd', '--config-file', settings]
  const daemon = sandbox.startDaemon(command, ...args)
  const version = async () => sandbox.attempt('docker', 'version', '--format', '{{.Server.Version}}')
  await until(
    async () => {
      if (!daemon.isRunning()) throw new Error(`dockerd ended:\n${daemon.output()}`)
      return (await version()).exitCode === 0
    },
    START_TIMEOUT_MS,
    () => `dockerd did not become ready:\n${daemon.output()}`,
  )
  return {
    docker: async (...args) => (await sandbox.run('docker', ...args)).trim(),
    version: (await version()).stdout.trim(),
  }
}

/** Takes an archive into Docker's storage and names it. */
export async function dockerLoad(docker: Docker, archive: string, reference: string): Promise<void> {
  const loaded = await docker.docker('load', '--quiet', '--input', archive)
  await docker.docker('tag', loaded.replace('Loaded image: ', ''), reference)
}

/** Removes every image. */
export async function dockerForget(docker: Docker): Promise<void> {
  const ids = (await docker.docker('images', '--all', '--quiet')).split('\n').filter((id) => id !== '')
  if (ids.length > 0) await docker.docker('rmi', '--force', ...new Set(ids))
}

/** Pulls into empty storage. */
export async function dockerPull(docker: Docker, reference: string, ...options: string[]): Promise<HeldImage> {
  await dockerForget(docker)
  await docker.docker('pull', '--quiet', ...options, reference)
  const image = parseJson(await docker.docker('image', 'inspect', reference))
  const [, digest = ''] = String(at(image, 0, 'RepoDigests', 0)).split('@')
  return { digest, config: textAt(image, 0, 'Id'), diffIds: listAt(image, 0, 'RootFS', 'Layers').map(String) }
}

export function dockerClient(docker: Docker): Client {
  return {
    name: 'docker',
    push: async (images, reference) => {
      await dockerForget(docker)
      await dockerLoad(docker, images.archives.amd64, reference)
      await docker.docker('push', '--quiet', reference)
    },
    pull: async (reference) => dockerPull(docker, reference),
  }
}
