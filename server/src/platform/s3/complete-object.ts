import type { Bucket, OpenMultipart, StoredPart } from './bucket.ts'
import { ObjectStoreError } from './bucket-error.ts'

/**
 * Makes an object of its parts, under a key that no other one has. What the store answers is not believed either way: it
 * may say that it has completed an object and not have done so (API_CompleteMultipartUpload), or do it while the answer is
 * lost.
 * @throws ObjectStoreError when the object is not there in its full size.
 */
export async function completeObject(
  bucket: Bucket,
  multipart: OpenMultipart,
  { parts, sizeBytes }: { parts: readonly StoredPart[]; sizeBytes: number },
): Promise<void> {
  let failure: unknown
  await bucket.completeMultipart(multipart, parts).catch((error: unknown) => (failure = error))
  const written = await bucket.head(multipart.key)
  if (written?.sizeBytes === sizeBytes) return
  const sizes = `${written?.sizeBytes ?? 0} bytes instead of ${sizeBytes}`
  throw failure ?? new ObjectStoreError(bucket.name, new Error(`it completed an object of ${sizes}`))
}
