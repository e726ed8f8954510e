import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))
/** A command that should have ended, such as a start that should have failed, is ended then. */
const END_TIMEOUT_MS = 30_000

/** What a command that has ended left behind. */
export interface Outcome {
  /** Null when it had to be ended. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly env?: Record<string, string>
  readonly cwd?: string
  /** What is run instead of this checkout's `bin/entrepot`. */
  readonly launcher?: string
  /** A program, with its arguments, that runs the launcher. */
  readonly through?: readonly string[]
  /** How long it may take. */
  readonly timeoutMs?: number
}

/** Runs `bin/entrepot` until it ends; no `REGISTRY_*` variables but the given ones reach it. */
export async function entrepot(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('REGISTRY_'))
  const { launcher = LAUNCHER } = options
  const [program = launcher, ...rest] = [...(options.through ?? []), launcher, ...args]
  const child = spawn(program, rest, {
    env: { ...Object.fromEntries(own), ...options.env },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? END_TIMEOUT_MS)
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  clearTimeout(timer)
  return { code: child.exitCode, stdout, stderr }
}

/** A folder that is removed when the test ends. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-operations-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Writes a `config.yml` and gives its path. */
export async function writeConfig(folder: string, yaml: string, name = 'config.yml'): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, yaml)
  return file
}
