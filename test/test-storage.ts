import { randomBytes } from 'node:crypto'

/** The bucket that `test/on-minio.ts` made; without it registries keep blobs in their data folder. */
const STORAGE = process.env['ENTREPOT_TEST_STORAGE'] ?? ''

/** Whether registries keep their blobs in a bucket. */
export const isOnS3 = STORAGE !== ''

/** The folder in the bucket that belongs to each data folder. */
const FOLDERS = new Map<string, string>()

/** What `storage.s3` has to say for the registry in a data folder; undefined when the tests run on folders. */
export function testStorage(folder: string): Record<string, unknown> | undefined {
  if (!isOnS3) return undefined
  const rootdirectory = FOLDERS.get(folder) ?? randomBytes(8).toString('hex')
  FOLDERS.set(folder, rootdirectory)
  return { ...JSON.parse(STORAGE), rootdirectory }
}
