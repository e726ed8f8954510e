import { setInterval } from 'node:timers'
import type { Database } from '#platform/database'
import type { Logger } from '#platform/log'
import type { BlobStore } from './store.ts'
import { deleteUpload, findUploadsStartedBefore } from './upload-rows.ts'

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
  dependencies: { database: Database; store: BlobStore; log: Logger },
  options: UploadPurgingOptions,
): () => void {
  const run = () => {
    purgeUploads(dependencies, options).catch((error: unknown) => {
      dependencies.log.error({ err: error }, 'abandoned uploads could not be removed')
    })
  }
  run()
  const timer = setInterval(run, options.intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}

async function purgeUploads(
  dependencies: { database: Database; store: BlobStore; log: Logger },
  options: UploadPurgingOptions,
): Promise<void> {
  const { database, store, log } = dependencies
  const before = Date.now() - options.ageMs
  const expired = new Set(await findUploadsStartedBefore(database.read, before))
  for await (const upload of store.listUploads()) {
    if (upload.modifiedAt < before) expired.add(upload.id)
    else expired.delete(upload.id)
  }
  for (const id of expired) {
    log.info({ upload: id, dryRun: options.isDryRun }, 'removing an abandoned upload')
    if (options.isDryRun) continue
    await database.transaction(async (transaction) => deleteUpload(transaction, id))
    await store.removeUpload(id)
  }
}
