import { once } from 'node:events'
import { type IncomingMessage, type OutgoingHttpHeaders, request as httpRequest } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

/** A request whose body the test sends piece by piece. */
export interface SlowRequest {
  /** Resolves when the kernel has taken the bytes. */
  write(bytes: Buffer): Promise<void>
  /** Sends the rest in pieces of `pieceBytes`, with a pause before each, and ends the body. */
  drip(bytes: Buffer, pace: { pieceBytes: number; pauseMs: number }): Promise<void>
  end(): void
  /** Goes away without a word. */
  abort(): void
  /** The status and the body; rejects when the connection breaks before they are complete. */
  readonly answer: Promise<{ status: number; body: Buffer }>
}

/** Begins a request on a connection of its own. */
export function openRequest(method: string, url: string, headers: OutgoingHttpHeaders = {}): SlowRequest {
  const outgoing = httpRequest(url, { method, headers, agent: false })
  outgoing.flushHeaders()
  const answer = readAnswer(once(outgoing, 'response'))
  // A test may not be interested in it.
  answer.catch(() => {})
  outgoing.on('error', () => {})
  const write = async (bytes: Buffer) =>
    new Promise<void>((resolve, reject) => {
      outgoing.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  return {
    write,
    drip: async (bytes, { pieceBytes, pauseMs }) => {
      for (let start = 0; start < bytes.length; start += pieceBytes) {
        await sleep(pauseMs)
        await write(bytes.subarray(start, start + pieceBytes))
      }
      outgoing.end()
    },
    end: () => void outgoing.end(),
    abort: () => void outgoing.destroy(),
    answer,
  }
}

/** Begins a download and leaves it alone after the headers: nothing is read until the test does. */
export async function openDownload(url: string): Promise<IncomingMessage> {
  const outgoing = httpRequest(url, { agent: false })
  const answered: Promise<IncomingMessage[]> = once(outgoing, 'response')
  outgoing.end()
  const [incoming] = await answered
  if (incoming === undefined) throw new Error(`no answer to GET ${url}`)
  outgoing.on('error', () => {})
  return incoming
}

async function readAnswer(answered: Promise<IncomingMessage[]>): Promise<{ status: number; body: Buffer }> {
  const [incoming] = await answered
  if (incoming === undefined) throw new Error('no answer')
  return { status: incoming.statusCode ?? 0, body: await buffer(incoming) }
}
