import type { Digest } from '@entrepot/oci'
import {
  checkLeftovers,
  checkS3Leftovers,
  type ContentInspector,
  FilesystemStore,
  FolderInspector,
  type InspectionOptions,
  S3Inspector,
  S3Store,
} from '#core/blobs'
import type { Checked, Finding } from '#core/findings'
import { type Inventory, S3Inventory } from '#core/inventory'
import type { Connection } from '#platform/database'
import { Bucket } from '#platform/s3'
import type { Config } from './config/index.ts'
import { s3Options } from './settings.ts'

/** A store as a check sees it. */
export interface CheckedStore {
  readonly inspector: ContentInspector
  /** Tells of what no row knows. */
  leftovers(check: {
    /** Undefined where the database cannot be read. */
    readonly connection: Connection | undefined
    readonly isOnline: boolean
    readonly checked: Checked
  }): AsyncIterable<Finding>
  /** What it says of repositories, where it does. */
  readonly inventory: Inventory | undefined
  /** Moves damaged content away; no server may work there. */
  quarantine(digest: Digest): Promise<void>
}

/**
 * Opens the store that the configuration names, a bucket or the data folder, and changes nothing in it.
 * @throws ObjectStoreError, within 10 seconds, when the bucket cannot be used as it is configured.
 */
export async function openCheckedStore(
  config: Config,
  root: string,
  options: InspectionOptions,
): Promise<CheckedStore> {
  const s3 = s3Options(config)
  if (s3 === undefined) {
    return {
      inspector: new FolderInspector(root, options),
      leftovers: (check) => checkLeftovers({ ...check, root }),
      inventory: undefined,
      quarantine: async (digest) => (await FilesystemStore.open(root)).quarantine(digest),
    }
  }
  const bucket = await Bucket.open(s3)
  await bucket.verify()
  return {
    inspector: new S3Inspector(bucket, options),
    leftovers: (check) => checkS3Leftovers({ ...check, bucket }),
    inventory: new S3Inventory(bucket),
    quarantine: async (digest) => new S3Store(bucket).quarantine(digest),
  }
}
