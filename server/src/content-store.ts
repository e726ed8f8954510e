import { type BlobStore, FilesystemStore, S3Store } from '#core/blobs'
import { Bucket } from '#platform/s3'
import type { Config } from './config/index.ts'
import { s3Options } from './settings.ts'

/** Where content is kept, and how messages call that. */
export interface ContentStore {
  readonly store: BlobStore
  readonly place: string
}

/**
 * Opens the store that the configuration names: a bucket, or the data folder.
 * @param requireRoom asked before bytes are written to the folder: it throws while none may be.
 * @throws ObjectStoreError, within 10 seconds, when the bucket cannot be used as it is configured.
 */
export async function openContentStore(config: Config, folder: string, requireRoom: () => void): Promise<ContentStore> {
  const options = s3Options(config)
  if (options === undefined) {
    return { store: await FilesystemStore.open(folder, requireRoom), place: `the folder ${folder}/blobs` }
  }
  const bucket = await Bucket.open(options)
  await bucket.verify()
  const store = new S3Store(bucket)
  if (!config.storage.maintenance.readonly.enabled) await store.check()
  return { store, place: bucket.name }
}
