import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { until } from '../harness.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_TIMEOUT_MS = 60_000

/** A registry that npm runs. */
export interface NpmStart {
  /** Everything that npm and the registry have printed. */
  output(): string
  /**
   * Ends it: a terminal sends SIGINT to npm and to all that it has started, a supervisor sends SIGTERM to npm alone.
   * Resolves when nobody holds the output open any more, so that the registry has ended too.
   */
  end(how: 'Ctrl+C' | 'SIGTERM'): Promise<void>
}

/** Starts `npm start` on an address and a folder, and waits until the registry answers. */
export async function startByNpm(t: TestContext, host: string, dataDirectory: string): Promise<NpmStart> {
  const child = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { ...process.env, REGISTRY_HTTP_ADDR: host, REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: dataDirectory },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let isOver = false
  const closed = once(child, 'close').then(() => void (isOver = true))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  t.after(() => {
    if (!isOver) signalGroup(child, 'SIGKILL')
  })
  await until(
    () => {
      if (isOver) throw new Error(`npm start ended with ${child.exitCode}:\n${output}`)
      return output.includes(`Entrepot answers on http://${host}`)
    },
    START_TIMEOUT_MS,
    () => `the registry did not start:\n${output}`,
  )
  return {
    output: () => output,
    end: async (how) => {
      if (how === 'Ctrl+C') signalGroup(child, 'SIGINT')
      else child.kill('SIGTERM')
      await closed
    },
  }
}

/** The child leads a group of its own, so that its number stands for all that it has started. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid !== undefined) process.kill(-child.pid, signal)
}
