import { request as httpRequest } from 'node:http'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Config } from '@entrepot/server/config'
import type { TransferEvent } from '@entrepot/server/management'

type Method = 'GET' | 'POST' | 'DELETE'

interface Answer {
  readonly status: number
  readonly body: Readable
}

type Send = (method: Method, url: string, body?: object) => Promise<Answer>

/** Operations on a data folder, whoever carries them out. */
export interface ManagementClient {
  /** Whether a server that works in the folder carries them out. */
  readonly isServed: boolean
  /**
   * Carries out an operation under `/api/v1/` and gives its answer.
   * @param url the path after `/api/v1/`, with its query
   * @throws Error with the reason when it is refused or fails.
   */
  request<Result>(method: Method, url: string, body?: object): Promise<Result>
  /** Gives what an operation sends, which may be large. @throws Error with the reason when it is refused. */
  download(url: string): Promise<Readable>
  /**
   * Begins an operation that tells how it goes on, and gives what it tells. Whoever stops to listen ends it.
   * @throws Error with the reason when it is refused.
   */
  events<Counts>(url: string, body: object): AsyncGenerator<TransferEvent<Counts>>
}

/** No server listens on the socket: there is none, or a killed one has left it. */
const UNSERVED = new Set(['ENOENT', 'ECONNREFUSED', 'EINVAL', 'ENAMETOOLONG', 'ENOTDIR'])

/**
 * Works on the configured data folder: through the server that works there, and otherwise in this process, which then
 * holds the folder's lock until it ends.
 * @param file the configuration; undefined is what "entrepot serve" would use.
 * @param isCreating whether a registry is made where there is none.
 * @throws ConfigError, and what the work throws.
 */
export async function withManagement<Result>(
  file: string | undefined,
  work: (client: ManagementClient, config: Config) => Promise<Result>,
  { isCreating } = { isCreating: false },
): Promise<Result> {
  const { loadConfig } = await import('@entrepot/server/config')
  const { managementSocket, openManagement } = await import('@entrepot/server/management')
  const { config } = loadConfig({ file })
  const socketPath = managementSocket(config)
  if (await isServed(socketPath)) {
    const send: Send = async (method, url, body) => sendOver(socketPath, { method, url, body })
    return work(createClient(send, true), config)
  }
  const management = await openManagement(config, { isCreating })
  try {
    return await work(
      createClient(async (method, url, body) => management.request(method, url, body), false),
      config,
    )
  } finally {
    await management.close()
  }
}

function createClient(send: Send, isServed: boolean): ManagementClient {
  const open = async (method: Method, url: string, body?: object) => {
    const answer = await send(method, `/api/v1/${url}`, body)
    if (answer.status >= 400) throw new Error(reasonIn(JSON.parse(await text(answer.body))))
    return answer.body
  }
  return {
    isServed,
    request: async (method, url, body) => {
      const answer = await send(method, `/api/v1/${url}`, body)
      const json = await text(answer.body)
      const value: unknown = json === '' ? undefined : JSON.parse(json)
      if (answer.status >= 400) throw new Error(reasonIn(value))
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what answers is of this installation
      return value as never
    },
    download: async (url) => open('GET', url),
    events: async function* (url, body) {
      const lines = await open('POST', url, body)
      for await (const line of createInterface({ input: lines })) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what answers is of this installation
        yield JSON.parse(line) as never
      }
    },
  }
}

async function isServed(socketPath: string): Promise<boolean> {
  try {
    const { body } = await sendOver(socketPath, { method: 'GET', url: '/api/v1/', body: undefined })
    await text(body)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && UNSERVED.has(String(error.code))) return false
    throw error
  }
}

/** However long it takes: what is asked for may look at everything that is stored. */
async function sendOver(
  socketPath: string,
  { method, url, body }: { method: Method; url: string; body: object | undefined },
): Promise<Answer> {
  const json = body === undefined ? undefined : JSON.stringify(body)
  const headers = { host: 'localhost', ...(json !== undefined && { 'content-type': 'application/json' }) }
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const outgoing = httpRequest({ socketPath, method, path: url, headers, agent: false })
  outgoing.once('error', reject)
  outgoing.once('response', (incoming) => {
    resolve({ status: incoming.statusCode ?? 0, body: incoming })
  })
  outgoing.end(json)
  return promise
}

/** The message of an answer that refuses: `{"errors":[{"message":…}]}`. */
function reasonIn(value: unknown): string {
  const errors: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'errors') : undefined
  const [first]: unknown[] = Array.isArray(errors) ? errors : []
  const message: unknown = typeof first === 'object' && first !== null ? Reflect.get(first, 'message') : undefined
  return typeof message === 'string' ? message : 'the server gave no reason; its log may have it'
}
