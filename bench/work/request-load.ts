import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { HttpConnection, HttpRequest } from '../client/http-connection.ts'
import { firstLineOf } from '../programs.ts'
import { costOf, type Server, withConnections } from '../servers/server.ts'
import type { Reading } from './work.ts'

const WRK_SCRIPT = fileURLToPath(new URL('wrk-summary.lua', import.meta.url))
const SECONDS = 1
const WARM_UPS = 3
/** No server sends longer heads; the bytes per answer must lie between the body and the body with this much. */
const HEAD_LIMIT_BYTES = 4096
const MICROSECONDS_PER_SECOND = 1_000_000

export const wrkVersion = firstLineOf('wrk', ['-v'])?.split(' ').slice(0, 2).join(' ')

/** A GET or HEAD that is repeated on many connections, and the only answer that counts. */
export interface RepeatedRequest {
  readonly method: 'GET' | 'HEAD'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Length of the object: of the body, or, for HEAD, of the Content-Length. */
  readonly sizeBytes: number
}

/** Loads a new process for three seconds, by repeating an action that takes one: until then its code is being compiled. */
export async function warmUp(load: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < WARM_UPS; done++) await load()
}

/**
 * Repeats a request for one second on each of the connections and tells the rate and the processor time per request.
 * GETs are sent by wrk where it is installed, else, and for HEAD, which wrk cannot, by HttpConnection.
 * @throws Error when a single answer has another status or length
 */
export async function repeatRequest(
  server: Server,
  connections: number,
  request: RepeatedRequest,
): Promise<readonly Reading[]> {
  const isForWrk = wrkVersion !== undefined && request.method === 'GET'
  let outcome = { requests: 0, seconds: SECONDS }
  const cost = await costOf(server, async () => {
    outcome = await (isForWrk ? runWrk : runOwnLoop)(server, connections, request)
  })
  return [
    { unit: 'req/s', value: outcome.requests / outcome.seconds },
    { unit: 'cpu µs/request', value: (cost.serverCpuSeconds * MICROSECONDS_PER_SECOND) / outcome.requests },
  ]
}

async function runWrk(server: Server, connections: number, request: RepeatedRequest) {
  const headers = Object.entries(request.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const url = `http://127.0.0.1:${server.port}${request.path}`
  const args = ['-t1', `-c${connections}`, `-d${SECONDS}s`, '-s', WRK_SCRIPT]
  const { stdout } = await promisify(execFile)('wrk', [...args, ...headers, url])
  const { requests, bytes, microseconds, failures } = parseSummary(stdout)
  if (failures > 0 || requests === 0) throw new Error(`wrk counted ${failures} failures in ${requests} requests`)
  // The answers that were on the way at the end are in the bytes and not in the requests.
  const most = (requests + connections) * (request.sizeBytes + HEAD_LIMIT_BYTES)
  if (bytes < requests * request.sizeBytes || bytes > most) {
    throw new Error(`${bytes} bytes in ${requests} answers of ${request.sizeBytes} bytes`)
  }
  return { requests, seconds: microseconds / MICROSECONDS_PER_SECOND }
}

async function runOwnLoop(server: Server, count: number, request: RepeatedRequest) {
  return withConnections(server, count, async (connections) => {
    const startedAt = performance.now()
    const endsAt = startedAt + SECONDS * 1000
    const requests = await Promise.all(connections.map((connection) => repeatUntil(endsAt, connection, request)))
    const seconds = (performance.now() - startedAt) / 1000
    return { requests: requests.reduce((sum, each) => sum + each, 0), seconds }
  })
}

async function repeatUntil(endsAt: number, connection: HttpConnection, request: RepeatedRequest): Promise<number> {
  const toSend: HttpRequest = { method: request.method, path: request.path, headers: request.headers }
  const bodyBytes = request.method === 'HEAD' ? 0 : request.sizeBytes
  let count = 0
  while (performance.now() < endsAt) {
    const answer = await connection.request(toSend)
    const length = Number(answer.headers.get('content-length'))
    if (answer.status !== 200 || length !== request.sizeBytes || answer.bodyBytes !== bodyBytes) {
      throw new Error(`status ${answer.status}, length ${length}, ${answer.bodyBytes} bytes`)
    }
    count++
  }
  return count
}

/** Reads the line that wrk-summary.lua prints last. */
function parseSummary(output: string) {
  const line = output.trim().split('\n').at(-1) ?? ''
  const [requests, bytes, microseconds, failures] = line.split(' ').map(Number)
  if (requests === undefined || bytes === undefined || microseconds === undefined || failures === undefined) {
    throw new Error(`wrk printed no summary: ${output}`)
  }
  return { requests, bytes, microseconds, failures }
}
