import { randomUUID } from 'node:crypto'
import { after, type TestContext } from 'node:test'
import { Bucket } from '#platform/s3'
import { isMinioPresent, type MinioServer, startMinio } from '../../../../test/minio-server.ts'
import { testBlobStore } from './blob-store.contract.ts'
import { S3Store } from './s3-store.ts'

const MIB = 1024 * 1024

let minio: Promise<MinioServer> | undefined
after(async () => (await minio)?.remove())

/** An empty store; undefined where there is no MinIO. */
async function openStore(t: TestContext): Promise<S3Store | undefined> {
  if (!isMinioPresent(t)) return undefined
  return new S3Store(await openBucket())
}

async function openBucket(prefix = `${randomUUID()}/`): Promise<Bucket> {
  const { storage } = await (minio ??= startMinio())
  return Bucket.open({
    bucket: storage.bucket,
    region: storage.region,
    endpoint: storage.regionendpoint,
    isPathStyle: true,
    credentials: { accessKeyId: storage.accesskey, secretAccessKey: storage.secretkey },
    isUnverified: false,
    isDualStack: false,
    isAccelerated: false,
    prefix,
    partBytes: 5 * MIB,
    storageClass: undefined,
    acl: undefined,
    encryption: undefined,
  })
}

testBlobStore('a bucket', openStore)
