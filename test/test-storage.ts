import { randomBytes } from 'node:crypto'
import type { MinioServer } from './minio-server.ts'

/** The store that `test/on-stand.ts` started; without it registries keep blobs in their data folder. */
const STORE = process.env['ENTREPOT_TEST_S3'] ?? ''

/** Whether registries keep their blobs in a bucket. */
export const isOnS3 = STORE !== ''

/** The folder in the bucket that belongs to each data folder. */
const FOLDERS = new Map<string, string>()

/** Where the registry in a data folder keeps its blobs; undefined when the tests run on folders. */
export function testBucket(
  folder: string,
): { minio: Pick<MinioServer, 'folder' | 'storage'>; rootdirectory: string } | undefined {
  if (!isOnS3) return undefined
  const rootdirectory = FOLDERS.get(folder) ?? randomBytes(8).toString('hex')
  FOLDERS.set(folder, rootdirectory)
  return { minio: JSON.parse(STORE), rootdirectory }
}

/** What `storage.s3` has to say for the registry in a data folder; undefined when the tests run on folders. */
export function testStorage(folder: string): Record<string, unknown> | undefined {
  const place = testBucket(folder)
  return place && { ...place.minio.storage, rootdirectory: place.rootdirectory }
}
