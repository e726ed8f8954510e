import { once } from 'node:events'
import { type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { TestContext } from 'node:test'

/** A request that went through the proxy. */
export interface Passage {
  readonly method: string
  readonly path: string
  /** The `Range` header of a request for a part. */
  readonly range: string | undefined
  /** The `Content-Range` header of a chunk. */
  readonly contentRange: string | undefined
  /** 0 until the registry has answered. */
  status: number
  isBroken: boolean
}

/** A bad line between a client and the registry: it breaks when told to, and tells what went over it. */
export interface BreakingProxy {
  /** `127.0.0.1:<port>`, to be used instead of the registry's. */
  readonly host: string
  readonly passages: Passage[]
  /** Closes the connection of the next upload that has sent this many bytes, in one request or in several chunks. */
  breakUploadAt(bytes: number): void
  /** Closes the connection of the next blob download that has brought this many bytes. */
  breakDownloadAt(bytes: number): void
}

export async function startBreakingProxy(t: TestContext, registryHost: string): Promise<BreakingProxy> {
  const limits = { upload: Number.POSITIVE_INFINITY, download: Number.POSITIVE_INFINITY }
  const passages: Passage[] = []
  const seen = new Map<string, number>()
  const [hostname, port] = registryHost.split(':')
  const server = createServer((incoming, outgoing) => {
    const { method = '', url: path = '', headers } = incoming
    const passage: Passage = {
      method,
      path,
      range: headers.range,
      contentRange: headers['content-range'],
      status: 0,
      isBroken: false,
    }
    passages.push(passage)
    const onward = request({ hostname, port, method, path, headers })
    const cut = (direction: keyof typeof limits) => {
      limits[direction] = Number.POSITIVE_INFINITY
      passage.isBroken = true
      incoming.destroy()
      onward.destroy()
    }
    const isUpload = (method === 'PATCH' || method === 'PUT') && path.includes('/blobs/uploads/')
    const isDownload = method === 'GET' && path.includes('/blobs/')
    const [resource = ''] = path.split('?')
    const count = (direction: keyof typeof limits) => (bytes: number) => {
      const total = (seen.get(resource) ?? 0) + bytes
      seen.set(resource, total)
      if (total >= limits[direction]) cut(direction)
    }
    const up = counter(isUpload ? count('upload') : undefined)
    const down = counter(isDownload ? count('download') : undefined)
    void pass(incoming, up, onward)
    onward.once('error', () => outgoing.destroy())
    onward.once('response', (answer) => {
      passage.status = answer.statusCode ?? 0
      outgoing.writeHead(passage.status, answer.rawHeaders)
      void pass(answer, down, outgoing)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy got no port')
  return {
    host: `127.0.0.1:${address.port}`,
    passages,
    breakUploadAt: (bytes) => (limits.upload = bytes),
    breakDownloadAt: (bytes) => (limits.download = bytes),
  }
}

function counter(count: ((bytes: number) => void) | undefined): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      done(null, chunk)
      count?.(chunk.length)
    },
  })
}

/** Either end may go away at any time: that is what this proxy is for. */
async function pass(from: IncomingMessage, through: Transform, to: ClientRequest | ServerResponse): Promise<void> {
  await pipeline(from, through, to).catch(() => to.destroy())
}
