import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { until } from '../harness.ts'
import { areProgramsPresent, SEARCH_PATH } from '../clients/programs.ts'

const PATIENCE_MS = 20_000

/** Calls of the kernel to change, and how. */
export interface Injection {
  /** Names of the calls, comma-separated; those that the machine does not know begin with `?`. */
  readonly calls: string
  /** Only calls that name, or work on, one of these files and folders; all when there are none. */
  readonly files: readonly string[]
  /** What is done instead, or before: `error=EIO`, `signal=SIGKILL`, `delay_enter=<microseconds>`; see strace(1). */
  readonly effect: string
  /** Which of each thread's calls: "2" the second, "1+" all; the first when nothing is said. */
  readonly when?: string
}

/** A process whose calls are changed. */
export interface InjectedProcess {
  /** How many calls were changed so far; a signal does not count. */
  hits(): number
  /** Resolves when the process has ended, or was let go. */
  readonly ended: Promise<unknown>
  /** Lets the process go on undisturbed. */
  end(): Promise<void>
}

/** Tells, and skips the test otherwise, whether calls can be changed here. */
export function canInject(t: TestContext): boolean {
  return areProgramsPresent(t, ['strace'])
}

/** Changes calls of a running process, from now until the end of the test at the latest. */
export async function inject(t: TestContext, pid: number, injection: Injection): Promise<InjectedProcess> {
  const { calls, files, effect, when = '1' } = injection
  const parameters = [
    '-f',
    `--attach=${pid}`,
    ...files.map((file) => `--trace-path=${file}`),
    `--trace=${calls}`,
    `--inject=${calls}:${effect}:when=${when}`,
  ]
  const tracer = spawn('strace', parameters, {
    env: { ...process.env, PATH: SEARCH_PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  tracer.stderr.on('data', (chunk: Buffer) => void (output += chunk.toString()))
  const ended = once(tracer, 'close')
  const end = async () => {
    tracer.kill('SIGINT')
    await ended
  }
  t.after(end)
  await until(
    () => / attached/.test(output),
    PATIENCE_MS,
    () => `the process cannot be traced: ${output}`,
  )
  return { hits: () => output.match(/\((INJECTED|DELAYED)\)/g)?.length ?? 0, ended, end }
}
