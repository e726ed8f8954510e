import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { record, strings } from '../registry-client.ts'

const SUCCESS = { success: true, errors: [], messages: [], result: { id: '1' } }

/** A request to have URLs forgotten. */
export interface Purge {
  readonly path: string
  readonly authorization: string | undefined
  readonly files: readonly string[]
  readonly receivedAt: number
}

/** A server that stands in for Cloudflare's API. */
export interface Cloudflare {
  /** What the registry is configured with. */
  readonly purge: Readonly<Record<string, string>>
  readonly purges: readonly Purge[]
  /** How the next requests are answered, each in turn; all others succeed. */
  answerNext(...answers: ((reply: ServerResponse) => void)[]): void
}

/** Answers with a status as Cloudflare does. */
export function failing(status: number, message: string, headers: Record<string, string> = {}) {
  return (reply: ServerResponse) => {
    reply.writeHead(status, { 'content-type': 'application/json', ...headers })
    reply.end(JSON.stringify({ success: false, errors: [{ code: 10_000, message }], messages: [], result: null }))
  }
}

/** Answers that all is done. */
export function succeed(reply: ServerResponse): void {
  reply.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(SUCCESS))
}

/** Never answers. */
export const silent = () => {}

export async function startCloudflare(t: TestContext): Promise<Cloudflare> {
  const purges: Purge[] = []
  const answers: ((reply: ServerResponse) => void)[] = []
  const server = createServer((request, reply) => {
    void text(request).then((body) => {
      const { files } = record(JSON.parse(body))
      const { authorization } = request.headers
      purges.push({ path: request.url ?? '', authorization, files: strings(files), receivedAt: Date.now() })
      const answer = answers.shift() ?? succeed
      answer(reply)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return {
    purge: { provider: 'cloudflare', zone: 'zone1', token: 't0ken', api: `http://127.0.0.1:${address.port}/client/v4` },
    purges,
    answerNext: (...next) => void answers.push(...next),
  }
}
