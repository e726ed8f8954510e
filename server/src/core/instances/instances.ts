import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { besideOthers, type Connection, type Database, isPostgres, lockKey } from '#platform/database'
import type { Logger } from '#platform/log'
import {
  DEAD_AFTER_MS,
  deleteInstance,
  insertInstance,
  listAlive,
  markCollecting,
  touchInstance,
} from './instance-rows.ts'

const BEAT_MS = 2_000
const LOOK_AGAIN_MS = 250

/** This process among those that work on one database. */
export interface Instance {
  /** Another one in each process; undefined where the engine lets only one process work. */
  readonly id: string | undefined
  /** Those of the ids that belong to a process that is alive, or may be. */
  alive(): Promise<Set<string>>
  /**
   * Runs work, such as a run of the garbage collector, unless another process does: two would only be in each other's way.
   * @returns whether it ran.
   */
  collect(work: () => Promise<void>): Promise<boolean>
  /** Nobody waits for this process any more. */
  leave(): Promise<void>
}

const ALONE: Instance = {
  id: undefined,
  alive: async () => new Set(),
  collect: async (work) => {
    await work()
    return true
  },
  leave: async () => {},
}

/**
 * Joins those that work on a database, and says every other second that this process is alive: others then take over
 * what it leaves when it is gone. With SQLite there are no others.
 * @param isAlone whether others must be kept out.
 * @throws Error when others are there, and either side needs the database alone. Who was killed counts as
 * there for 8 seconds, which are waited for.
 */
export async function joinInstances(database: Database, log: Logger, isAlone = false): Promise<Instance> {
  if (!isPostgres(database.read)) return ALONE
  const id = randomUUID()
  await register(database, id, isAlone)
  const ending = new AbortController()
  const beat = async () => {
    while (!ending.signal.aborted) {
      await sleep(BEAT_MS, undefined, { signal: ending.signal, ref: false }).catch(() => {})
      if (ending.signal.aborted) return
      await touchInstance(database.read, id, isAlone).catch((error: unknown) => {
        log.warn({ err: error }, 'others could not be told that this instance is alive')
      })
    }
  }
  const done = beat()
  return {
    id,
    alive: async () => new Set((await listAlive(database.read)).map((other) => other.id)),
    collect: async (work) => collect(database, id, work),
    leave: async () => {
      ending.abort()
      await done
      await deleteInstance(database.read, id).catch((error: unknown) => {
        log.warn({ err: error }, 'others could not be told that this instance ends; they find out in 8 seconds')
      })
    },
  }
}

async function collect(database: Database, id: string, work: () => Promise<void>): Promise<boolean> {
  const isFree = await inTurn(database, async (connection) => {
    const others = (await listAlive(connection)).filter((other) => other.id !== id)
    if (others.some((other) => other.isCollecting)) return false
    await markCollecting(connection, id, true)
    return true
  })
  if (!isFree) return false
  try {
    await work()
  } finally {
    await markCollecting(database.read, id, false)
  }
  return true
}

/** Runs work on the rows of all instances while no other one does: all look at all of them, and would meet if they could. */
async function inTurn<Result>({ read }: Database, work: (connection: Connection) => Promise<Result>): Promise<Result> {
  return besideOthers(read, async (connection) => {
    await lockKey(connection, 'instances')
    return work(connection)
  })
}

async function register(database: Database, id: string, isAlone: boolean): Promise<void> {
  const first = new Map<string, number>()
  const deadline = performance.now() + DEAD_AFTER_MS + BEAT_MS
  for (;;) {
    const inTheWay = await inTurn(database, async (connection) => {
      const found = (await listAlive(connection)).filter((other) => isAlone || other.isAlone)
      if (found.length === 0) await insertInstance(connection, id, isAlone)
      return found
    })
    if (inTheWay.length === 0) return
    for (const other of inTheWay) {
      const seenAt = first.get(other.id)
      if (seenAt === undefined) first.set(other.id, other.seenAt)
      // It has said so again.
      else if (seenAt !== other.seenAt || performance.now() > deadline) throw inUse(other.isAlone)
    }
    await sleep(LOOK_AGAIN_MS)
  }
}

function inUse(isAlone: boolean): Error {
  return new Error(
    isAlone
      ? 'a command such as "entrepot fsck" has the database that "database.url" names for itself: wait for its end'
      : 'another Entrepot works on the database that "database.url" names: end it first, or check beside it with --online',
  )
}
