import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { after, type TestContext } from 'node:test'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { type MinioServer, startMinio } from '../minio-server.ts'
import { RegistryClient } from '../registry-client.ts'
import { HarmedBucket } from './s3-corruptions.ts'

let shared: Promise<MinioServer> | undefined
after(async () => (await shared)?.remove())

/** The MinIO of all tests of a file. */
export async function sharedMinio(): Promise<MinioServer> {
  return (shared ??= startMinio())
}

/** A registry whose blobs are in a bucket that can be harmed. */
interface RegistryInBucket {
  readonly registry: TestRegistry
  readonly client: RegistryClient
  /** The configuration file of the registry. */
  readonly target: { readonly config: string }
  readonly bucket: HarmedBucket
  /** The folder in the bucket. */
  readonly rootdirectory: string
}

/**
 * A registry with a folder of its own in the shared bucket, and its metadata in SQLite.
 * @param options.s3 what differs in `storage.s3`.
 */
export async function startInBucket(
  t: TestContext,
  { maintenance = {}, s3 = {} }: { maintenance?: object; s3?: object } = {},
): Promise<RegistryInBucket> {
  const [minio, rootdirectory] = [await sharedMinio(), randomUUID()]
  const storage = { s3: { ...minio.storage, rootdirectory, ...s3 }, redirect: { disable: true }, maintenance }
  const registry = await startRegistry(t, { config: { storage } })
  const target = { config: join(dirname(registry.dataDirectory), 'config.yml') }
  const bucket = new HarmedBucket(minio, rootdirectory)
  return { registry, client: new RegistryClient(registry.url), target, bucket, rootdirectory }
}
