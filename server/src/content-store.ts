import type { Digest } from '@entrepot/oci'
import { blobFile, type BlobStore, FilesystemStore, S3Store } from '#core/blobs'
import { type Inventory, S3Inventory } from '#core/inventory'
import { Bucket } from '#platform/s3'
import type { Config } from './config/index.ts'
import { s3Options } from './settings.ts'

/** Where content is kept, and how messages call that. */
export interface ContentStore {
  readonly store: BlobStore
  readonly place: string
  readonly links: ContentLinks
  /** What it says of repositories; undefined for a folder, which says nothing. */
  readonly inventory: Inventory | undefined
}

/** How content can be read from where it is kept, without the registry. */
export interface ContentLinks {
  /** Where it is, as a path in the folder or a key in the bucket; undefined where there is none. */
  readonly pathOf: (digest: Digest) => Promise<string | undefined>
  /** A URL that is signed by the store; undefined for a store that signs none. */
  readonly presign: ((digest: Digest) => Promise<string | undefined>) | undefined
}

/** As long as CNCF distribution's. */
const PRESIGNED_SECONDS = 1_200

/**
 * Opens the store that the configuration names: a bucket, or the data folder.
 * @param requireRoom asked before bytes are written to the folder: it throws while none may be.
 * @throws ObjectStoreError, within 10 seconds, when the bucket cannot be used as it is configured.
 */
export async function openContentStore(config: Config, folder: string, requireRoom: () => void): Promise<ContentStore> {
  const options = s3Options(config)
  if (options === undefined) {
    const links = { pathOf: async (digest: Digest) => blobFile('blobs', digest), presign: undefined }
    const store = await FilesystemStore.open(folder, requireRoom)
    return { store, place: `the folder ${folder}/blobs`, links, inventory: undefined }
  }
  const bucket = await Bucket.open(options)
  await bucket.verify()
  const store = new S3Store(bucket)
  if ((await bucket.hasAny('docker/registry/v2/')) && (await store.isEmpty())) {
    throw new Error(
      `${bucket.name} has a registry of CNCF distribution, in a form of its own: name an empty folder of it in ` +
        '"storage.s3.rootdirectory", and bring the images over with "entrepot import distribution"',
    )
  }
  if (!config.storage.maintenance.readonly.enabled) await store.check()
  const links: ContentLinks = {
    pathOf: async (digest) => store.pathOf(digest),
    presign: async (digest) => store.presign(digest, PRESIGNED_SECONDS),
  }
  return { store, place: bucket.name, links, inventory: new S3Inventory(bucket) }
}
