import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { until, type TestRegistry } from '../harness.ts'
import { record } from '../registry-client.ts'
import { residentBytes } from './disk.ts'

/** A server that is started with these lets its memory be looked at, from this machine alone. */
export const INSPECTED = { NODE_OPTIONS: '--inspect=127.0.0.1:0' }
const LISTEN_LIMIT_MS = 10_000

/** What a server has in memory after garbage was collected, in bytes. */
export interface Memory {
  /** The whole process: what V8 keeps for later is among it. */
  readonly resident: number
  /** Objects and buffers that something still refers to. */
  readonly referred: number
}

/**
 * Measures what a server keeps. V8 lets some 60 MiB of garbage gather before it looks at old objects, so that a look at
 * the process says more about the moment than about the server; here V8 collects first.
 */
export class ServerMemory {
  readonly #pid: number
  readonly #socket: WebSocket
  readonly #answers = new Map<number, (result: Record<string, unknown>) => void>()
  #commands = 0

  private constructor(pid: number, socket: WebSocket) {
    this.#pid = pid
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const message = record(JSON.parse(String(data)))
      this.#answers.get(Number(message['id']))?.(record(message['result']))
    })
  }

  /** Connects to the inspector of a server that was started with INSPECTED, until the test ends. */
  static async open(t: TestContext, registry: TestRegistry): Promise<ServerMemory> {
    const address = () => /^Debugger listening on (ws:\S+)$/m.exec(registry.output())?.[1]
    await until(
      () => address() !== undefined,
      LISTEN_LIMIT_MS,
      () => `the inspector does not listen:\n${registry.output()}`,
    )
    const socket = new WebSocket(address() ?? '')
    t.after(() => socket.close())
    await once(socket, 'open')
    return new ServerMemory(registry.pid(), socket)
  }

  /** Collects garbage and measures what is left. */
  async measure(): Promise<Memory> {
    // What is freed in the first pass may have held buffers, which the second frees.
    await this.#command('HeapProfiler.collectGarbage')
    await this.#command('HeapProfiler.collectGarbage')
    const usage = await this.#command('Runtime.getHeapUsage')
    const referred = Number(usage['usedSize']) + Number(usage['backingStorageSize'])
    return { resident: await residentBytes(this.#pid), referred }
  }

  async #command(method: string): Promise<Record<string, unknown>> {
    const id = (this.#commands += 1)
    const answered = new Promise<Record<string, unknown>>((resolve) => void this.#answers.set(id, resolve))
    this.#socket.send(JSON.stringify({ id, method }))
    const result = await answered
    this.#answers.delete(id)
    return result
  }
}
