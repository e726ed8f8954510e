import type { HttpAnswer, HttpConnection } from '../client/http-connection.ts'
import { costOf, type Server, withConnection, withConnections } from '../servers/server.ts'
import { median } from '../report/statistics.ts'
import type { Case, Reading } from './work.ts'

const SETUP_CONNECTIONS = 32
const MEASURE_MS = 500
const LEAST_REQUESTS = 3

/** A list of names that a server is asked for, and what the answer has to hold. */
export interface Listing {
  readonly path: string
  /** The key of the names in the JSON document. */
  readonly key: 'tags' | 'repositories'
  readonly expected: readonly string[]
  /** What a server that neither sorts nor pages may send instead, in any order. */
  readonly unsorted?: readonly string[] | undefined
  /** Done before each request, and not counted: what makes the server forget what it remembers. */
  readonly before?: ((connection: HttpConnection) => Promise<unknown>) | undefined
}

/**
 * Asks for a list over and over on one connection; the figure is the median time from request to last byte. What it costs
 * the server is only told where nothing else goes on between.
 */
async function measureListing(server: Server, listing: Listing): Promise<readonly Reading[]> {
  return withConnection(server, async (connection) => {
    const bodyBytes = await readAndCheck(connection, listing)
    const timesMs: number[] = []
    const cost = await costOf(server, async () => {
      const endsAt = performance.now() + MEASURE_MS
      while (timesMs.length < LEAST_REQUESTS || performance.now() < endsAt) {
        await listing.before?.(connection)
        const startedAt = performance.now()
        const answer = await connection.request({ method: 'GET', path: listing.path })
        timesMs.push(performance.now() - startedAt)
        if (answer.status !== 200 || answer.bodyBytes !== bodyBytes) throw wrongAnswer(listing, answer)
      }
    })
    const readings: Reading[] = [{ unit: 'ms', value: median(timesMs) }]
    if (listing.before === undefined) {
      readings.push({ unit: 'cpu µs/request', value: (cost.serverCpuSeconds * 1_000_000) / timesMs.length })
    }
    return readings
  })
}

/**
 * A case that asks a server for a list.
 * @param before pushes something before each request; undefined lets the server remember the list.
 */
export function listingCase(
  label: string,
  listingOf: (server: Server) => Omit<Listing, 'before'>,
  before: Listing['before'],
): Case {
  return {
    label: before === undefined ? label : `${label}, each after a push`,
    measure: (server) => measureListing(server, { ...listingOf(server), before }),
  }
}

/** Does the action for every item, 32 at a time on as many connections. */
export async function forEachOver<T>(
  server: Server,
  items: readonly T[],
  action: (connection: HttpConnection, item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  await withConnections(server, SETUP_CONNECTIONS, (connections) =>
    Promise.all(
      connections.map(async (connection) => {
        for (const item of rest) await action(connection, item)
      }),
    ),
  )
}

/** Names that sort as they are counted: `<prefix>000001` ... */
export function countedNames(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${String(index + 1).padStart(6, '0')}`)
}

/** Reads the list once, compares each name, and gives the length that all other answers must have. */
async function readAndCheck(connection: HttpConnection, listing: Listing): Promise<number> {
  const pieces: Buffer[] = []
  const onBody = (piece: Buffer) => void pieces.push(Buffer.from(piece))
  const answer = await connection.request({ method: 'GET', path: listing.path, onBody })
  if (answer.status !== 200) throw wrongAnswer(listing, answer)
  const found = namesIn(Buffer.concat(pieces).toString(), listing.key)
  if (!isSame(found, listing.expected) && !isSame(found.toSorted(byCodeUnit), listing.unsorted))
    throw wrongAnswer(listing, answer)
  return answer.bodyBytes
}

function namesIn(json: string, key: string): readonly string[] {
  const document: unknown = JSON.parse(json)
  const names: unknown = typeof document === 'object' && document !== null ? Reflect.get(document, key) : undefined
  return Array.isArray(names) ? names.map(String) : []
}

function isSame(found: readonly string[], expected: readonly string[] | undefined): boolean {
  return found.length === expected?.length && found.every((name, index) => name === expected[index])
}

function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function wrongAnswer({ path }: Listing, { status, bodyBytes }: HttpAnswer): Error {
  return new Error(`${path}: not the expected list (status ${status}, ${bodyBytes} bytes)`)
}
