import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'

const DEFAULT_TIMEOUT_MS = 180_000

/** The search path of every client: daemons live in `sbin`, which a user's own path often lacks. */
export const SEARCH_PATH = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter)

export interface RunOptions {
  env?: Record<string, string>
  cwd?: string
  /** Killed, and counted as a failure, when it takes longer. */
  timeoutMs?: number
}

/** How a program ended, with all that it printed. */
export interface Outcome {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end, whatever that is. Without `env` it inherits ours. */
export async function attempt(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env ?? { ...process.env, PATH: SEARCH_PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const [exitCode, stdout, stderr] = await Promise.all([exited, text(child.stdout), text(child.stderr)])
  return { exitCode, stdout, stderr }
}

/** Runs a program that has to succeed and gives its standard output; throws with everything it said otherwise. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await attempt(command, args, options)
  if (exitCode === 0) return stdout
  throw new Error(`${[command, ...args].join(' ')}\nended with ${exitCode ?? 'a signal'}\n${stdout}${stderr}`)
}

/** What has to be installed for each client: the Debian packages and Go modules in `.ci/run`. */
const PROGRAMS = {
  docker: ['docker', 'dockerd', 'containerd', 'runc'],
  podman: ['podman', 'conmon', 'runc'],
  skopeo: ['skopeo'],
  buildah: ['buildah'],
  containerd: ['containerd', 'ctr'],
  umoci: ['umoci', 'skopeo'],
  crane: ['crane'],
  oras: ['oras'],
  regctl: ['regctl'],
} as const

export type ClientName = keyof typeof PROGRAMS

/** Tells, as `areProgramsPresent` does, whether a client can be tested here. */
export function isClientPresent(t: TestContext, client: ClientName): boolean {
  return areProgramsPresent(t, ['debootstrap', 'tar', 'unshare', ...PROGRAMS[client]])
}

/**
 * Tells whether a test finds the programs that it runs, and root's rights. A contributor without them sees a skip that
 * says what is missing; where `ENTREPOT_REQUIRE_CLIENTS=1` is set, as in the gate, a missing program is a failure.
 */
export function areProgramsPresent(t: TestContext, programs: readonly string[]): boolean {
  const missing = programs.filter((program) => !isInstalled(program))
  const reasons = missing.map((program) => `${program} is not installed`)
  if (process.getuid?.() !== 0) reasons.push('it needs root, to mount file systems')
  if (reasons.length === 0) return true
  skipUnlessRequired(t, reasons.join('; '))
  return false
}

/** Skips a test for a reason that lies with the machine; throws it where `ENTREPOT_REQUIRE_CLIENTS=1` is set. */
export function skipUnlessRequired(t: TestContext, reason: string): void {
  if (process.env.ENTREPOT_REQUIRE_CLIENTS === '1') throw new Error(`ENTREPOT_REQUIRE_CLIENTS is set, but ${reason}`)
  t.skip(reason)
}

/** Whether a program is in the search path. */
export function isInstalled(program: string): boolean {
  return SEARCH_PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
