import { BackupBucket } from './backup-bucket.ts'
import { BackupFolder } from './backup-folder.ts'
import { type BackupPlace, requireBackups } from './backup-place.ts'
import { type BucketAccess, isBucketUrl, locateBucket } from './bucket-location.ts'

/** Where backups are kept. */
export interface BackupLocation {
  /** An absolute path, or `s3://<bucket>/<prefix>`. */
  readonly target: string
  readonly access: BucketAccess
}

/** Whether backups are kept in a bucket. */
export const isBucket = ({ target }: BackupLocation): boolean => isBucketUrl(target)

/** Opens a place for a backup; a folder is made if need be. @throws when it cannot be used. */
export async function createBackupPlace(location: BackupLocation): Promise<BackupPlace> {
  return isBucket(location)
    ? BackupBucket.open(locateBucket(location.target, location.access))
    : BackupFolder.create(location.target)
}

/** Opens a place that has backups. @throws when there is none. */
export async function openBackupPlace(location: BackupLocation): Promise<BackupPlace> {
  const place = isBucket(location)
    ? await BackupBucket.open(locateBucket(location.target, location.access))
    : await BackupFolder.open(location.target)
  if (place === undefined) {
    throw new Error(`there is no backup in ${location.target}: name the place that "entrepot backup" has written to`)
  }
  await requireBackups(place)
  return place
}
