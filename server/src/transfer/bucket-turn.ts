import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bucket } from '#platform/s3'

/** Whoever has said nothing for so long does not write any more. */
const SILENT_MS = 30_000
const BEAT_MS = 5_000
const FOLDER = 'writers/'

/**
 * Runs work while nobody else that does the same writes to a bucket: whoever does has an object of their own, which is
 * written anew as long as the work goes on. All times are those that the store gives its objects.
 * @param work is given what throws when others may have begun, because this process or the store stood still.
 * @throws Error when somebody writes there. Who was killed counts for 30 seconds, which are waited for.
 */
export async function aloneInBucket<Result>(
  bucket: Bucket,
  work: (confirm: () => void) => Promise<Result>,
): Promise<Result> {
  const key = FOLDER + randomUUID()
  const ending = new AbortController()
  let beatenAt = performance.now()
  const beat = async () => {
    const at = performance.now()
    await bucket.put(key, new Uint8Array())
    beatenAt = at
  }
  const confirm = () => {
    if (performance.now() - beatenAt < SILENT_MS - BEAT_MS) return
    throw new Error(`${bucket.name} could not be written to for too long, and others may have begun to: do it again`)
  }
  try {
    await beat()
    await waitForOthers(bucket, key, beat)
    const beating = (async () => {
      while (!ending.signal.aborted) {
        await sleep(BEAT_MS, undefined, { signal: ending.signal, ref: false }).catch(() => {})
        // Whether that was in time is asked before anything depends on it.
        if (!ending.signal.aborted) await beat().catch(() => {})
      }
    })()
    try {
      return await work(confirm)
    } finally {
      ending.abort()
      await beating
    }
  } finally {
    // Otherwise others wait for it.
    await bucket.delete([key]).catch(() => {})
  }
}

async function waitForOthers(bucket: Bucket, own: string, beat: () => Promise<void>): Promise<void> {
  const first = new Map<string, number>()
  for (;;) {
    const writers = new Map<string, number>()
    for await (const { key, modifiedAt } of bucket.list(FOLDER)) writers.set(key, modifiedAt)
    const now = writers.get(own) ?? 0
    writers.delete(own)
    const silent = [...writers].filter(([, seenAt]) => seenAt < now - SILENT_MS).map(([key]) => key)
    await bucket.delete(silent)
    const others = [...writers].filter(([key]) => !silent.includes(key))
    if (others.length === 0) return
    for (const [key, seenAt] of others) {
      if ((first.get(key) ?? seenAt) !== seenAt) {
        throw new Error(`another backup is being written to ${bucket.name}: wait for its end`)
      }
      first.set(key, seenAt)
    }
    await sleep(BEAT_MS / 2)
    await beat()
  }
}
