import { once } from 'node:events'
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import type { TestContext } from 'node:test'

/** What is asked of the store. */
export type S3Operation =
  | 'get'
  | 'head'
  | 'list'
  | 'put'
  | 'delete'
  | 'begin-parts'
  | 'put-part'
  | 'complete-parts'
  | 'abort-parts'

/**
 * What happens to a request instead of its answer: an error of the store, with or without its status; a connection that
 * breaks before the store hears of it, after it has done the work, or in the middle of the answer; a part of which the
 * store knows nothing although it said so; no answer at all.
 */
export type S3Fault = 'error' | 'slow-down' | 'error-in-200' | 'unheard' | 'unanswered' | 'cut' | 'lost-part' | 'stall'

export interface S3Request {
  readonly operation: S3Operation
  /** The key, and the rest of the URL. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
}

/** Stands between the server and the store, and lets requests fail as a plan says. */
export interface S3Proxy {
  readonly url: string
  /** All requests so far. */
  readonly requests: S3Request[]
  /** Decides for each request what happens to it; undefined lets it pass. */
  plan: (request: S3Request) => S3Fault | undefined
}

/** @param target the port of the store on loopback. */
export async function startS3Proxy(t: TestContext, target: number): Promise<S3Proxy> {
  const agent = new Agent({ keepAlive: true })
  const proxy = { url: '', requests: new Array<S3Request>(), plan: (): S3Fault | undefined => undefined }
  const server = createServer((incoming, answer) => {
    const heard = { operation: operationOf(incoming), url: incoming.url ?? '', headers: incoming.headers }
    proxy.requests.push(heard)
    const fault = (proxy satisfies S3Proxy as S3Proxy).plan(heard)
    void handle(fault, incoming, answer, { agent, target }).catch(() => answer.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  proxy.url = `http://127.0.0.1:${address.port}`
  t.after(() => {
    agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  return proxy
}

async function handle(
  fault: S3Fault | undefined,
  incoming: IncomingMessage,
  answer: ServerResponse,
  store: { agent: Agent; target: number },
): Promise<void> {
  switch (fault) {
    case 'error':
    case 'slow-down':
    case 'error-in-200':
      await discard(incoming)
      refuse(answer, fault)
      return
    case 'lost-part':
      await discard(incoming)
      answer.writeHead(200, { etag: '"d41d8cd98f00b204e9800998ecf8427e"' }).end()
      return
    case 'unheard':
      answer.destroy()
      return
    case 'stall':
      await discard(incoming)
      return
    default:
      await pass(fault, incoming, answer, store)
  }
}

/** Lets the store do the work, and passes on what it says, or some of it. */
async function pass(
  fault: 'unanswered' | 'cut' | undefined,
  incoming: IncomingMessage,
  answer: ServerResponse,
  { agent, target }: { agent: Agent; target: number },
): Promise<void> {
  const { method, url, rawHeaders } = incoming
  // The signature covers the Host header: it goes on as it came.
  const outgoing = request({ host: '127.0.0.1', port: target, method, path: url, headers: rawHeaders, agent })
  outgoing.on('error', () => answer.destroy())
  incoming.on('error', () => outgoing.destroy())
  incoming.pipe(outgoing)
  const [response]: IncomingMessage[] = await once(outgoing, 'response')
  if (response === undefined) return
  response.on('error', () => answer.destroy())
  if (fault === 'unanswered') {
    await discard(response)
    answer.destroy()
    return
  }
  answer.writeHead(response.statusCode ?? 500, response.rawHeaders)
  if (fault === undefined) {
    response.pipe(answer)
    return
  }
  let left = Math.floor(Number(response.headers['content-length'] ?? 0) / 2)
  for await (const chunk of response) {
    const bytes: Buffer = chunk
    answer.write(bytes.subarray(0, left))
    left -= bytes.byteLength
    if (left <= 0) break
  }
  answer.destroy()
}

function refuse(answer: ServerResponse, fault: 'error' | 'slow-down' | 'error-in-200'): void {
  const code = fault === 'slow-down' ? 'SlowDown' : 'InternalError'
  const status = fault === 'error' ? 500 : fault === 'slow-down' ? 503 : 200
  answer.writeHead(status, { 'content-type': 'application/xml' })
  answer.end(`<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>as planned</Message></Error>`)
}

async function discard(stream: IncomingMessage): Promise<void> {
  stream.resume()
  await once(stream, 'end')
}

function operationOf({ method, url = '' }: IncomingMessage): S3Operation {
  const { searchParams } = new URL(url, 'http://store')
  if (method === 'HEAD') return 'head'
  if (method === 'GET') return searchParams.has('list-type') || searchParams.has('uploads') ? 'list' : 'get'
  if (method === 'PUT') return searchParams.has('partNumber') ? 'put-part' : 'put'
  if (method === 'DELETE') return searchParams.has('uploadId') ? 'abort-parts' : 'delete'
  if (searchParams.has('uploads')) return 'begin-parts'
  return searchParams.has('uploadId') ? 'complete-parts' : 'delete'
}
