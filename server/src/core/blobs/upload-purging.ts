import { setInterval } from 'node:timers'
import { earlierNow } from '#platform/clock'
import type { Logger } from '#platform/log'
import type { BlobStore } from './store.ts'
import type { Uploads } from './uploads.ts'

/** What belongs to nothing may still get a name while the request goes on that has written it. */
const MIN_LEFTOVER_AGE_MS = 24 * 60 * 60_000

export interface UploadPurgingOptions {
  /** Uploads that nothing was added to for so long are given up. */
  readonly ageMs: number
  readonly intervalMs: number
  /** Only says what would be removed. */
  readonly isDryRun: boolean
}

/**
 * Removes abandoned uploads now and at every interval, and what a crash left without an upload.
 * @returns ends it.
 */
export function startUploadPurging(
  dependencies: { uploads: Uploads; store: BlobStore; log: Logger },
  options: UploadPurgingOptions,
): () => void {
  const { uploads, store, log } = dependencies
  let isEnding = false
  const purge = async () => {
    for (const id of await uploads.removeAbandoned(earlierNow() - options.ageMs, options.isDryRun)) {
      log.info({ upload: id, dryRun: options.isDryRun }, 'removing an abandoned upload')
    }
    const before = earlierNow() - Math.max(options.ageMs, MIN_LEFTOVER_AGE_MS)
    const leftovers = await store.removeLeftovers({ before, isDryRun: options.isDryRun, isEnding: () => isEnding })
    if (leftovers.length > 0) {
      log.info(
        { count: leftovers.length, dryRun: options.isDryRun },
        'removing what belongs to no upload and no content',
      )
    }
  }
  const run = () => {
    purge().catch((error: unknown) => log.error({ err: error }, 'abandoned uploads could not be removed'))
  }
  run()
  const timer = setInterval(run, options.intervalMs)
  timer.unref()
  return () => {
    isEnding = true
    clearInterval(timer)
  }
}
