import { randomUUID } from 'node:crypto'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { ContentHash } from './content-hash.ts'
import type { BlobStore, StoredContent } from './store.ts'

const READ_SIZE_BYTES = 1024 * 1024

/**
 * Copies content from one store to another, durably, and compares it with its digest on its way. What is there in its
 * size is not read.
 * @returns what became of it: the source may have none, or a damaged one, and then the target has none either.
 * @throws the error of the store that fails.
 */
export async function copyContent(
  from: BlobStore,
  to: BlobStore,
  { digest, sizeBytes }: { digest: Digest; sizeBytes: number },
): Promise<'copied' | 'present' | 'absent' | 'damaged'> {
  if ((await to.size(digest)) === sizeBytes) return 'present'
  const content = await from.open(digest)
  if (content === undefined) return 'absent'
  const id = randomUUID()
  try {
    const hash = new ContentHash(digestAlgorithm(digest))
    await to.appendUpload(id, 0, bytesOf(content), hash)
    if (hash.sizeBytes !== sizeBytes || (await hash.digest()) !== digest) {
      await to.removeUpload(id)
      return 'damaged'
    }
    await to.finishUpload(id, digest, sizeBytes)
    return 'copied'
  } catch (error) {
    await to.removeUpload(id)
    throw error
  } finally {
    await content.close()
  }
}

async function* bytesOf(content: StoredContent): AsyncGenerator<Uint8Array> {
  let position = 0
  while (position < content.sizeBytes) {
    // Another one each time: whoever takes it may free its memory.
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE_BYTES, content.sizeBytes - position))
    const length = await content.read(buffer, position)
    if (length === 0) return
    yield buffer.subarray(0, length)
    position += length
  }
}
