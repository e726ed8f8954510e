import type { S3Options } from '#platform/s3'
import { BackupBucket } from './backup-bucket.ts'
import { BackupFolder } from './backup-folder.ts'
import { type BackupPlace, requireBackups } from './backup-place.ts'

/** Bytes of a part of an object: 80 GB fit into as many parts as a store takes. */
const PART_BYTES = 8 * 1024 * 1024
const URL = /^s3:\/\/([^/]+)\/*(.*?)\/*$/

/** How a bucket for backups is reached, as the variables of the AWS tools say it. */
export interface BucketAccess {
  readonly region?: string | undefined
  /** The URL of the store; undefined for Amazon's. */
  readonly endpoint?: string | undefined
  /** Undefined for what is found where the work is done, such as the machine's role. */
  readonly credentials?:
    | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string }
    | undefined
}

/** Where backups are kept. */
export interface BackupLocation {
  /** An absolute path, or `s3://<bucket>/<prefix>`. */
  readonly target: string
  readonly access: BucketAccess
}

/** Whether backups are kept in a bucket. */
export const isBucket = ({ target }: BackupLocation): boolean => target.startsWith('s3://')

/** Opens a place for a backup; a folder is made if need be. @throws when it cannot be used. */
export async function createBackupPlace(location: BackupLocation): Promise<BackupPlace> {
  return isBucket(location) ? BackupBucket.open(optionsOf(location)) : BackupFolder.create(location.target)
}

/** Opens a place that has backups. @throws when there is none. */
export async function openBackupPlace(location: BackupLocation): Promise<BackupPlace> {
  const place = isBucket(location)
    ? await BackupBucket.open(optionsOf(location))
    : await BackupFolder.open(location.target)
  if (place === undefined) {
    throw new Error(`there is no backup in ${location.target}: name the place that "entrepot backup" has written to`)
  }
  await requireBackups(place)
  return place
}

function optionsOf({ target, access }: BackupLocation): S3Options {
  const [, bucket, prefix = ''] = URL.exec(target) ?? []
  if (bucket === undefined) throw new Error(`"${target}" names no bucket: write it as s3://<bucket>/<prefix>`)
  const { endpoint, credentials, region = endpoint === undefined ? undefined : 'us-east-1' } = access
  if (region === undefined) throw new Error('the region of the bucket is not known: set AWS_REGION')
  return {
    bucket,
    region,
    endpoint,
    isPathStyle: endpoint !== undefined,
    credentials,
    isUnverified: false,
    isDualStack: false,
    isAccelerated: false,
    prefix: prefix === '' ? '' : `${prefix}/`,
    partBytes: PART_BYTES,
    storageClass: undefined,
    acl: undefined,
    encryption: undefined,
    settings: 'environment',
  }
}
