import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { randomBlob } from '../content.ts'

const KIBIBYTE = 1024
const BODY_BYTES = 1024 * KIBIBYTE
const GROUP = 100

/** Connections of clients with bad manners, which send or read next to nothing until they are let go. */
export class SlowCrowd {
  readonly #address: { readonly host: string; readonly port: number }
  readonly #sockets: Socket[] = []
  readonly #timers: NodeJS.Timeout[] = []

  constructor(origin: string) {
    const { hostname, port } = new URL(origin)
    this.#address = { host: hostname, port: Number(port) }
  }

  /** Sends headers byte by byte, without an end. @returns for each how long it took until the server had enough, in ms. */
  async openHeaders(count: number): Promise<readonly Promise<number>[]> {
    return this.#open(count, (socket) => {
      socket.write('GET /v2/ HTTP/1.1\r\nHost: registry\r\nX-Slow: ')
      this.#repeat(500, () => {
        if (socket.writable) socket.write('x')
      })
      socket.resume()
    })
  }

  /** Sends a bit of a body, and then either no more, or a bit from time to time. */
  async openBodies(
    urls: readonly string[],
    { isStalling }: { isStalling: boolean },
  ): Promise<readonly Promise<number>[]> {
    const targets = urls.values()
    return this.#open(urls.length, (socket) => {
      const { pathname, search } = new URL(targets.next().value ?? '')
      const head = `PATCH ${pathname}${search} HTTP/1.1\r\nHost: registry\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`
      socket.write(Buffer.concat([Buffer.from(head), randomBlob(KIBIBYTE)]))
      if (!isStalling) {
        this.#repeat(500, () => {
          if (socket.writable) socket.write('body')
        })
      }
      socket.resume()
    })
  }

  /** Asks for something large, and reads it in sips. */
  async openReaders(count: number, path: string): Promise<void> {
    void (await this.#open(count, (socket) => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: registry\r\n\r\n`)
      socket.on('data', () => socket.pause())
      this.#repeat(500, () => socket.resume())
    }))
  }

  /** Connects as often as it can, and leaves at once: half of the clients say nothing, half wait for an answer. */
  async burst(count: number): Promise<number> {
    let answered = 0
    for (let opened = 0; opened < count; opened += GROUP) {
      const sockets = Array.from({ length: GROUP }, () => connect(this.#address))
      await Promise.all(
        sockets.map(async (socket, number) => {
          socket.on('error', () => {})
          await once(socket, 'connect')
          if (number % 2 === 0) {
            socket.write('GET /v2/ HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n')
            const [answer] = await once(socket, 'data')
            if (String(answer).startsWith('HTTP/1.1 200 ')) answered += 1
          }
          socket.destroy()
        }),
      )
    }
    return answered
  }

  /** How many of the connections are open still. */
  get open(): number {
    return this.#sockets.filter((socket) => !socket.closed).length
  }

  /** Goes away without a word. */
  leave(): void {
    for (const timer of this.#timers) clearInterval(timer)
    for (const socket of this.#sockets) socket.destroy()
  }

  async #open(count: number, begin: (socket: Socket) => void): Promise<readonly Promise<number>[]> {
    const ends: Promise<number>[] = []
    for (let opened = 0; opened < count; opened += GROUP) {
      const sockets = Array.from({ length: Math.min(GROUP, count - opened) }, () => connect(this.#address))
      this.#sockets.push(...sockets)
      await Promise.all(sockets.map(async (socket) => once(socket, 'connect')))
      for (const socket of sockets) {
        const begun = performance.now()
        socket.on('error', () => {})
        ends.push(once(socket, 'close').then(() => performance.now() - begun))
        begin(socket)
      }
    }
    return ends
  }

  #repeat(everyMs: number, work: () => void): void {
    this.#timers.push(setInterval(work, everyMs))
  }
}
