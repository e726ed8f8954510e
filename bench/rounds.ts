import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { KindName, ServerKind } from './servers/kinds.ts'
import { Server } from './servers/server.ts'
import { type Case, count, type Reading, type Work } from './work/work.ts'

const PREPARE_TIMEOUT_MS = 600_000
const MEASURE_TIMEOUT_MS = 180_000

/** What one server did in one case: the readings of each counted round, or why there are none. */
export type Outcome = { readonly rounds: readonly (readonly Reading[])[] } | { readonly failure: string }

/** One case, measured on every server that took part. */
export interface CaseResult {
  readonly label: string
  readonly remark: string | undefined
  readonly outcomes: ReadonlyMap<KindName, Outcome>
}

/**
 * Runs a work on servers of its own, on empty folders: all servers are started and filled first, then each case goes
 * round them, A B C ... A B C ..., first once as a warm-up and then the counted rounds. A server that answers wrongly,
 * ends, or takes too long has failed this case; the others go on.
 */
export async function runWork(
  work: Work,
  kinds: readonly ServerKind[],
  { folder, rounds }: { folder: string; rounds: number },
): Promise<readonly CaseResult[]> {
  const workFolder = join(folder, work.name)
  const participants = kinds.filter((kind) =>
    work.isOwn === true ? kind.name === 'entrepot' : kind.isRegistry || work.includesLimit,
  )
  const servers = await Promise.all(
    participants.map((kind) => Server.create(kind, join(workFolder, kind.name), work.isSecure === true)),
  )
  const unprepared = new Map<Server, string>()
  try {
    for (const server of servers) {
      const failure = await failureOf(server, PREPARE_TIMEOUT_MS, async () => {
        if (!work.startsServers) await server.start()
        await work.prepare(server)
      })
      if (failure !== undefined) unprepared.set(server, failure)
    }
    const results: CaseResult[] = []
    const countedRounds = work.rounds ?? rounds
    for (const item of work.cases) {
      const label = countedRounds === rounds ? item.label : `${item.label} (${count(countedRounds, 'round')})`
      console.error(`${new Date().toTimeString().slice(0, 8)}  ${label}`)
      const failures = new Map(unprepared)
      results.push(await runCase({ ...item, label }, servers, { ...work, rounds: countedRounds, failures }))
    }
    return results
  } finally {
    await Promise.all(servers.map((server) => server.end()))
    await rm(workFolder, { recursive: true, force: true })
  }
}

async function runCase(
  item: Case,
  servers: readonly Server[],
  plan: { readonly rounds: number; readonly skipsWarmUp?: boolean; readonly failures: Map<Server, string> },
): Promise<CaseResult> {
  const { failures } = plan
  const readings = new Map<Server, (readonly Reading[])[]>(servers.map((server) => [server, []]))
  for (let round = plan.skipsWarmUp === true ? 1 : 0; round <= plan.rounds; round++) {
    for (const server of servers) {
      if (failures.has(server)) continue
      const failure = await failureOf(server, MEASURE_TIMEOUT_MS, async () => {
        const found = await item.measure(server, round)
        if (round > 0) readings.get(server)?.push(found)
      })
      if (failure !== undefined) failures.set(server, failure)
    }
  }
  const outcomes = new Map<KindName, Outcome>()
  for (const [server, rounds] of readings) {
    const failure = failures.get(server)
    outcomes.set(server.kind.name, failure === undefined ? { rounds } : { failure })
  }
  return { label: item.label, remark: item.remark, outcomes }
}

/** Runs the action; gives the message of what it threw, or says that it took too long, and then ends the server. */
async function failureOf(server: Server, timeoutMs: number, action: () => Promise<void>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      server.kill()
      reject(new Error(`no end after ${timeoutMs / 1000} s`))
    }, timeoutMs)
  })
  try {
    await Promise.race([action(), tooLate])
    return undefined
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    console.error(`          ${server.kind.title} failed: ${message}`)
    return message
  } finally {
    clearTimeout(timer)
  }
}
