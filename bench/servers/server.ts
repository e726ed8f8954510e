import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { accepts, freePort } from '../../test/harness.ts'
import { type Certificate, createCertificate } from '../../test/operations/certificates.ts'
import { HttpConnection } from '../client/http-connection.ts'
import { cpuSecondsOf } from './process-tree.ts'
import type { ServerKind } from './kinds.ts'

const START_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 15_000

const living = new Set<ChildProcess>()

/** Ends every server at once, when the whole run is given up. */
export function killAllServers(): void {
  for (const child of living) child.kill('SIGKILL')
}

/** One server on its own folder and port. It may be stopped and started again on the same data. */
export class Server {
  readonly kind: ServerKind
  /** Where the server's data lies. */
  readonly dataFolder: string
  readonly port: number
  readonly isSecure: boolean
  readonly #folder: string
  #certificate: Certificate | undefined
  #child: ChildProcess | undefined
  #errorOutput = ''

  private constructor(kind: ServerKind, folder: string, { port, isSecure }: { port: number; isSecure: boolean }) {
    this.kind = kind
    this.port = port
    this.isSecure = isSecure
    this.#folder = folder
    this.dataFolder = join(folder, 'data')
  }

  /** @param isSecure whether it speaks TLS. */
  static async create(kind: ServerKind, folder: string, isSecure: boolean): Promise<Server> {
    await mkdir(folder, { recursive: true })
    return new Server(kind, folder, { port: await freePort(), isSecure })
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.kind.title} is not running`)
    return this.#child.pid
  }

  /**
   * Starts the server and waits for its first answer: `200` to `GET /v2/` (of nginx, any answer).
   * @param environment variables that change its configuration
   * @returns how long that took, in milliseconds
   * @throws Error with what the server printed when it ends or stays silent
   */
  async start(environment: Readonly<Record<string, string>> = {}): Promise<number> {
    if (this.isSecure) this.#certificate ??= await createCertificate(this.#folder, 'bench')
    const { file, args } = await this.kind.configure(this.#folder, this.port, this.#certificate)
    const startedAt = performance.now()
    const child = spawn(file, args, {
      env: { ...serverEnvironment(), ...environment },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    living.add(child)
    child.once('exit', () => living.delete(child))
    this.#errorOutput = ''
    child.stderr.on('data', (chunk: Buffer) => void (this.#errorOutput += chunk.toString().slice(0, 10_000)))
    child.on('error', (error) => void (this.#errorOutput += error.message))
    while (!(await this.#answers())) {
      if (!this.#isRunning()) throw new Error(`${this.kind.title} ended at its start: ${this.#errorOutput.trim()}`)
      if (performance.now() - startedAt > START_TIMEOUT_MS) throw new Error(`${this.kind.title} did not start`)
      await sleep(1)
    }
    return performance.now() - startedAt
  }

  /** Ends the server as an operator does, with SIGTERM, and kills it when it takes longer than 15 seconds. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || !this.#isRunning()) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(killer)
  }

  /** Ends the server, and what it needs. */
  async end(): Promise<void> {
    await this.stop()
    await this.kind.end?.(this.#folder)
  }

  /** A further instance on the data of this one, not started yet. */
  async createInstance(): Promise<Server> {
    return new Server(this.kind, this.#folder, { port: await freePort(), isSecure: this.isSecure })
  }

  /** Ends the server with SIGKILL, when it does not answer any more. */
  kill(): void {
    this.#child?.kill('SIGKILL')
  }

  #isRunning(): boolean {
    return this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  async #answers(): Promise<boolean> {
    if (!(await accepts(this.port))) return false
    const connection = await HttpConnection.open(this)
    try {
      const { status } = await connection.request({ method: 'GET', path: '/v2/' })
      return status === 200 || !this.kind.isRegistry
    } catch {
      return false
    } finally {
      connection.close()
    }
  }
}

/** Starts the server for an action, with variables that change its configuration, and stops it after that. */
export async function whileRunning<T>(
  server: Server,
  environment: Readonly<Record<string, string>>,
  action: () => Promise<T>,
): Promise<T> {
  await server.start(environment)
  try {
    return await action()
  } finally {
    await server.stop()
  }
}

/** What an action cost. */
export interface Cost {
  readonly seconds: number
  /** Processor time of the server and its child processes, at the kernel's resolution of 10 ms, never 0. */
  readonly serverCpuSeconds: number
}

/** Runs the action and tells how long it took and how much processor time the server used meanwhile. */
export async function costOf(server: Server, action: () => Promise<unknown>): Promise<Cost> {
  const cpuBefore = cpuSecondsOf(server.pid)
  const startedAt = performance.now()
  await action()
  const seconds = (performance.now() - startedAt) / 1000
  return { seconds, serverCpuSeconds: Math.max(cpuSecondsOf(server.pid) - cpuBefore, 0.01) }
}

/** Runs the action with one open connection to the server, and closes it. */
export async function withConnection<T>(
  server: Server,
  action: (connection: HttpConnection) => Promise<T>,
): Promise<T> {
  const connection = await HttpConnection.open(server)
  try {
    return await action(connection)
  } finally {
    connection.close()
  }
}

/** Runs the action with that many open connections to the server, and closes them. */
export async function withConnections<T>(
  server: Server,
  count: number,
  action: (connections: readonly HttpConnection[]) => Promise<T>,
): Promise<T> {
  const connections = await Promise.all(Array.from({ length: count }, () => HttpConnection.open(server)))
  try {
    return await action(connections)
  } finally {
    for (const connection of connections) connection.close()
  }
}

/** REGISTRY_* variables would change the peers' configuration; distribution 3 would export traces by default. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('REGISTRY_'))
  return { ...Object.fromEntries(inherited), OTEL_TRACES_EXPORTER: 'none' }
}
