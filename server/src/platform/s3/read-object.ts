import type { Bucket } from './bucket.ts'
import { ObjectReader, type ReadObject } from './object-reader.ts'

const READ_SIZE_BYTES = 1024 * 1024

/**
 * All bytes of an object, in pieces that are the caller's.
 * @throws ObjectStoreError when the store cannot give them.
 */
export async function* readObject(bucket: Bucket, object: ReadObject): AsyncGenerator<Uint8Array> {
  const reader = new ObjectReader(bucket, object)
  try {
    for (let position = 0; position < object.sizeBytes;) {
      const chunk = new Uint8Array(Math.min(READ_SIZE_BYTES, object.sizeBytes - position))
      position += await reader.read(chunk, position)
      yield chunk
    }
  } finally {
    reader.close()
  }
}
