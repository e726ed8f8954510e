import type { Digest } from '@entrepot/oci'
import { findRepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import { findBlobSizes } from './blob-rows.ts'
import type { BlobStore } from './store.ts'

/** What uploads are called, all of them. */
const UPLOAD_ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

/** Whether an upload that is not there can have become the blob: the repository has it, and the store all its bytes. */
export async function isFinished(
  connection: Connection,
  store: BlobStore,
  { id, repository, digest }: { id: string; repository: string; digest: Digest },
): Promise<boolean> {
  const repositoryId = UPLOAD_ID.test(id) ? await findRepositoryId(connection, repository) : undefined
  if (repositoryId === undefined) return false
  const sizeBytes = (await findBlobSizes(connection, repositoryId, [digest])).get(digest)
  return sizeBytes !== undefined && (await store.size(digest)) === sizeBytes
}
