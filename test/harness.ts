import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { testDatabase } from './test-database.ts'
import { testStorage } from './test-storage.ts'

const LAUNCHER = fileURLToPath(new URL('../bin/entrepot', import.meta.url))
const START_TIMEOUT_MS = 30_000
const RESERVE_BYTES = 1024 * 1024

/** A real `entrepot serve` process on a free port with its own folder. */
export interface TestRegistry {
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string
  /** `127.0.0.1:<port>`, as clients write it before a repository's name. */
  readonly host: string
  readonly dataDirectory: string
  /** The process id of the running server. */
  pid(): number
  /** Everything the server has printed since its first start. */
  output(): string
  /** Ends the server with SIGTERM, as an operator does, and gives its exit code. */
  stop(): Promise<number | null>
  /** Ends the server with SIGKILL, as a crash does. */
  kill(): Promise<void>
  /** Starts the server again, on the same port and folder. */
  start(): Promise<void>
}

export interface TestRegistryOptions {
  /** Keys laid over the test configuration, section by section. */
  config?: Record<string, unknown>
  /** A file that is used as it is, but for the folder and the address; `config` then counts for nothing. */
  configFile?: string
  /** The host part of `http.addr`; requests go to loopback in any case. */
  listen?: string
  /** Further environment variables. */
  env?: Record<string, string>
  /** `https` when the configuration has `http.tls`; readiness is then not awaited. */
  scheme?: 'http' | 'https'
  /** What is run instead of this checkout's `bin/entrepot`. */
  launcher?: string
  /** A program, with its arguments, that becomes the launcher: the process id stays. */
  through?: readonly string[]
}

/**
 * Starts a registry for one test and removes it, with its folder, when the test ends.
 * Deleting is enabled, and the reserve of the disk is small, as there are many registries; all else is the default.
 */
export async function startRegistry(t: TestContext, options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-test-'))
  const dataDirectory = join(folder, 'data')
  const port = await freePort()
  const host = `127.0.0.1:${port}`
  const url = `${options.scheme ?? 'http'}://${host}`
  const address = `${options.listen ?? '127.0.0.1'}:${port}`
  const ownFile = join(folder, 'config.yml')
  const config = overlay(
    {
      version: '0.1',
      log: { level: 'info' },
      storage: {
        filesystem: { rootdirectory: dataDirectory },
        delete: { enabled: true },
        maintenance: { reserve: RESERVE_BYTES },
      },
      http: { addr: address },
    },
    options.config ?? {},
  )
  const databaseUrl = await testDatabase(t, rootOf(config) ?? dataDirectory)
  const s3 = testStorage(rootOf(config) ?? dataDirectory)
  const kept = {
    ...(databaseUrl !== undefined && { database: { url: databaseUrl } }),
    // Clients of tests follow no redirects.
    ...(s3 !== undefined && { storage: { s3, redirect: { disable: true } } }),
  }
  await writeFile(ownFile, JSON.stringify(overlay(kept, config), null, 2))
  const placed = options.configFile && {
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: dataDirectory,
    REGISTRY_HTTP_ADDR: address,
    ...(databaseUrl !== undefined && { REGISTRY_DATABASE_URL: databaseUrl }),
    ...(s3 !== undefined && { REGISTRY_STORAGE_S3: JSON.stringify(s3) }),
  }

  let output = ''
  let child: ChildProcess | undefined
  const collect = (chunk: Buffer) => void (output += chunk.toString())
  const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null
  const end = async (signal: NodeJS.Signals) => {
    if (child === undefined || !isRunning()) return child?.exitCode ?? null
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    return child.exitCode
  }
  const registry: TestRegistry = {
    url,
    host,
    dataDirectory,
    pid: () => child?.pid ?? -1,
    output: () => output,
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
    start: async () => {
      const { launcher = LAUNCHER } = options
      const command = [...(options.through ?? []), launcher, 'serve', options.configFile ?? ownFile]
      const [program = launcher, ...rest] = command
      const started = spawn(program, rest, {
        env: { ...process.env, ...placed, ...options.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      child = started
      started.stdout.on('data', collect)
      started.stderr.on('data', collect)
      await until(
        async () => {
          if (!isRunning()) throw new Error(`the registry ended with ${started.exitCode}:\n${output}`)
          if (options.scheme === 'https') return accepts(port)
          return fetch(`${url}/readyz`).then(
            (answer) => answer.ok,
            () => false,
          )
        },
        START_TIMEOUT_MS,
        () => `the registry did not become ready:\n${output}`,
      )
    },
  }
  t.after(async () => {
    await end('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })
  await registry.start()
  return registry
}

/** A TCP port on loopback that nothing listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}

/** Asks every 20 ms until the condition holds; throws the message when it does not hold in time. */
export async function until(
  condition: () => Promise<boolean> | boolean,
  timeoutMs: number,
  message: () => string,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(message())
    await sleep(20)
  }
}

/** Whether something listens on a TCP port on loopback. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** The data folder that a configuration names. */
function rootOf({ storage }: Record<string, unknown>): string | undefined {
  const filesystem = isRecord(storage) ? storage['filesystem'] : undefined
  const root = isRecord(filesystem) ? filesystem['rootdirectory'] : undefined
  return typeof root === 'string' ? root : undefined
}

function overlay(below: Record<string, unknown>, above: Record<string, unknown>): Record<string, unknown> {
  const result = { ...below }
  for (const [key, value] of Object.entries(above)) {
    const under = result[key]
    result[key] = isRecord(under) && isRecord(value) ? overlay(under, value) : value
  }
  return result
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
