import type { S3Options } from '#platform/s3'

/** Bytes of a part of an object: 80 GB fit into as many parts as a store takes. */
const PART_BYTES = 8 * 1024 * 1024
const URL = /^s3:\/\/([^/]+)\/*(.*?)\/*$/

/** How a bucket is reached, as the variables of the AWS tools say it. */
export interface BucketAccess {
  readonly region?: string | undefined
  /** The URL of the store; undefined for Amazon's. */
  readonly endpoint?: string | undefined
  /** Undefined for what is found where the work is done, such as the machine's role. */
  readonly credentials?:
    | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string }
    | undefined
}

/** Whether something is kept in a bucket: in `s3://<bucket>/<prefix>`. */
export const isBucketUrl = (place: string): boolean => place.startsWith('s3://')

/** What a URL and the access to its bucket say together. @throws Error that says what is missing */
export function locateBucket(url: string, access: BucketAccess): S3Options {
  const [, bucket, prefix = ''] = URL.exec(url) ?? []
  if (bucket === undefined) throw new Error(`"${url}" names no bucket: write it as s3://<bucket>/<prefix>`)
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
