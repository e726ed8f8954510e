import type { Digest } from '@entrepot/oci'
import { findRepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import { findBlobSizes } from './blob-rows.ts'
import type { BlobStore } from './store.ts'

/** Whether the repository of that name has the blob, and the store all its bytes. */
export async function hasBlob(
  connection: Connection,
  store: BlobStore,
  blob: { repository: string; digest: Digest },
): Promise<boolean> {
  const repositoryId = await findRepositoryId(connection, blob.repository)
  if (repositoryId === undefined) return false
  const sizeBytes = (await findBlobSizes(connection, repositoryId, [blob.digest])).get(blob.digest)
  return sizeBytes !== undefined && (await store.size(blob.digest)) === sizeBytes
}
