import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '#platform/database'
import { deleteHold, insertHold, LEASE_MS, prolongHold } from './garbage-hold-rows.ts'

const BEAT_MS = LEASE_MS / 6

/** Keeps everything that is stored, whatever becomes garbage, on all instances. */
export interface GarbageHold {
  /** Aborted when it has lapsed. */
  readonly signal: AbortSignal
  /** @throws Error when it has lapsed at any time since it was taken. */
  confirm(): Promise<void>
  /** Ends it. */
  release(): Promise<void>
}

/**
 * Takes a hold: what is stored when the promise resolves stays. Collectors go on without removing content. A row says so,
 * for a minute, and is renewed until the hold is released: so it ends with a process that is killed.
 */
export async function holdGarbage(database: Database): Promise<GarbageHold> {
  const id = randomUUID()
  const lapse = new AbortController()
  const ending = new AbortController()
  const confirm = async () => {
    if (!(await database.transaction(async (transaction) => prolongHold(transaction, id)))) lapse.abort(lapsed())
    lapse.signal.throwIfAborted()
  }
  const beat = async () => {
    while (!ending.signal.aborted && !lapse.signal.aborted) {
      await sleep(BEAT_MS, undefined, { signal: ending.signal, ref: false }).catch(() => {})
      // A database that cannot be asked now is asked again; it knows whether that was in time.
      if (!ending.signal.aborted) await confirm().catch(() => {})
    }
  }
  await database.transaction(async (transaction) => insertHold(transaction, id))
  const done = beat()
  return {
    signal: lapse.signal,
    confirm,
    release: async () => {
      ending.abort()
      await done
      // Otherwise it lapses.
      await database.transaction(async (transaction) => deleteHold(transaction, id)).catch(() => {})
    },
  }
}

function lapsed(): Error {
  return new Error(
    `the database could not be reached for ${LEASE_MS / 1_000} seconds, and content may have been removed since: ` +
      'do it again, it goes on from what is there',
  )
}
