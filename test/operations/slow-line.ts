import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/**
 * A line to a registry that lets any amount through at once, but takes its time each way, as one to another continent.
 * @param port of the registry, on loopback.
 * @returns the port where the line begins; it ends with the test.
 */
export async function openSlowLine(t: TestContext, port: number, delayMs: number): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      // One end may vanish before the other has heard of it.
      from.on('error', () => to.destroy())
      from.on('data', (chunk: Buffer) => void setTimeout(() => to.write(chunk), delayMs))
      from.on('end', () => void setTimeout(() => to.end(), delayMs))
    }
  })
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}
