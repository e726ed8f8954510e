import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { attempt, type Outcome, run, SEARCH_PATH } from './programs.ts'

/** File systems on which the kernel does not stack another overlay (statfs(2): overlayfs). */
const OVERLAYFS = 0x79_4c_76_30
/** Gives a command empty folders where it would keep the machine's state; the mounts vanish with it. */
const IN_EMPTY_SYSTEM = 'for f in /run /var/lib /var/cache; do mount -t tmpfs tmpfs $f || exit 1; done; exec "$@"'

/**
 * A temporary home for the clients of one test file: their settings, credentials, caches and storage.
 * Nothing that they do reaches the user's own, or the machine's.
 */
export interface Sandbox {
  readonly folder: string
  /** `overlay` where the temporary folder allows it, else `vfs`. */
  readonly storageDriver: 'overlay' | 'vfs'
  /** Where this sandbox's Docker daemon listens, and its `docker` looks for it. */
  readonly dockerHost: string
  /** A path where nothing is yet. */
  newPath(purpose: string): string
  run(command: string, ...args: string[]): Promise<string>
  attempt(command: string, ...args: string[]): Promise<Outcome>
  /** The same, in a mount namespace of its own, for programs that keep things in `/run`, `/var/lib` and `/var/cache`. */
  runIsolated(command: string, ...args: string[]): Promise<string>
  /**
   * Starts a daemon in mount and process namespaces of its own. When the test ends, the kernel ends all that the
   * daemon has started and takes its mounts away.
   */
  startDaemon(command: string, ...args: string[]): Daemon
}

export interface Daemon {
  isRunning(): boolean
  /** All that it has printed. */
  output(): string
}

export async function createSandbox(t: TestContext): Promise<Sandbox> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-clients-'))
  const daemons: ChildProcess[] = []
  let paths = 0
  t.after(async () => {
    await Promise.all(daemons.map(end))
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  })
  const storageDriver = (await statfs(folder)).type === OVERLAYFS ? 'vfs' : 'overlay'
  await writeSettings(folder, storageDriver)
  const env = environment(folder)
  return {
    folder,
    storageDriver,
    dockerHost: `unix://${join(folder, 'docker.sock')}`,
    newPath: (purpose) => join(folder, `${purpose}-${(paths += 1)}`),
    run: async (command, ...args) => run(command, args, { env }),
    attempt: async (command, ...args) => attempt(command, args, { env }),
    runIsolated: async (command, ...args) => run('unshare', isolated(command, args), { env }),
    startDaemon: (command, ...args) => {
      const namespaces = ['--pid', '--fork', '--kill-child', '--mount-proc', ...isolated(command, args)]
      const child = spawn('unshare', namespaces, { env, stdio: ['ignore', 'pipe', 'pipe'] })
      daemons.push(child)
      let output = ''
      child.on('error', (error) => (output += String(error)))
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
      child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
      return { isRunning: () => isRunning(child), output: () => output }
    },
  }
}

function isolated(command: string, args: readonly string[]): string[] {
  return ['--mount', 'sh', '-c', IN_EMPTY_SYSTEM, 'sh', command, ...args]
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

function environment(folder: string): Record<string, string> {
  const home = join(folder, 'home')
  return {
    PATH: SEARCH_PATH,
    LANG: 'C.UTF-8',
    HOME: home,
    TMPDIR: join(folder, 'tmp'),
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_CACHE_HOME: join(home, '.cache'),
    XDG_DATA_HOME: join(home, '.local/share'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
    DOCKER_CONFIG: join(home, '.docker'),
    DOCKER_HOST: `unix://${join(folder, 'docker.sock')}`,
    REGISTRY_AUTH_FILE: join(home, 'auth.json'),
    CONTAINERS_CONF: join(home, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(home, 'storage.conf'),
    CONTAINERS_REGISTRIES_CONF: join(home, 'registries.conf'),
    BUILDAH_ISOLATION: 'chroot',
  }
}

async function writeSettings(folder: string, storageDriver: string): Promise<void> {
  const home = join(folder, 'home')
  for (const made of ['tmp', 'run', 'home/.docker', 'home/.config/containers']) {
    await mkdir(join(folder, made), { recursive: true })
  }
  const files = {
    '.docker/config.json': '{}',
    '.config/containers/policy.json': '{"default": [{"type": "insecureAcceptAnything"}]}',
    'auth.json': '{"auths": {}}',
    'registries.conf': 'unqualified-search-registries = []\n',
    'storage.conf': `[storage]
driver = "${storageDriver}"
graphroot = "${folder}/storage"
runroot = "${folder}/run/storage"
`,
    'containers.conf': `[containers]
netns = "host"
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = "${folder}/run/libpod"
static_dir = "${folder}/libpod"
volume_path = "${folder}/volumes"
[network]
network_config_dir = "${folder}/networks"
`,
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(home, name), content)
}
