import { setInterval } from 'node:timers'
import { earlierNow } from '#platform/clock'
import type { Logger } from '#platform/log'
import type { Uploads } from './uploads.ts'

export interface UploadPurgingOptions {
  /** Uploads that nothing was added to for so long are given up. */
  readonly ageMs: number
  readonly intervalMs: number
  /** Only says what would be removed. */
  readonly isDryRun: boolean
}

/**
 * Removes abandoned uploads now and at every interval, and bytes that a crash left without an upload.
 * @returns ends it.
 */
export function startUploadPurging(
  dependencies: { uploads: Uploads; log: Logger },
  options: UploadPurgingOptions,
): () => void {
  const { uploads, log } = dependencies
  const purge = async () => {
    for (const id of await uploads.removeAbandoned(earlierNow() - options.ageMs, options.isDryRun)) {
      log.info({ upload: id, dryRun: options.isDryRun }, 'removing an abandoned upload')
    }
  }
  const run = () => {
    purge().catch((error: unknown) => log.error({ err: error }, 'abandoned uploads could not be removed'))
  }
  run()
  const timer = setInterval(run, options.intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}
