import { Random } from '../random.ts'
import { testBucket } from '../test-storage.ts'
import { DECAYS, fileOf } from './bit-rot.ts'
import { HarmedBucket } from './s3-corruptions.ts'

/** Flips a bit of content of the registry in a data folder, wherever that keeps it. */
export async function flipContent(dataDirectory: string, digest: string): Promise<void> {
  const random = new Random(digest)
  const place = testBucket(dataDirectory)
  if (place === undefined) return DECAYS['flipped']?.(fileOf(dataDirectory, digest), random)
  const bucket = new HarmedBucket(place.minio, place.rootdirectory)
  const { object } = await bucket.markerOf(digest)
  const bytes = await bucket.get(object)
  const at = random.below(bytes.length)
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at)
  await bucket.put(object, bytes)
}
