import type { DigestAlgorithm } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection, Transaction } from '#platform/database'

type UploadTables = {
  uploads: { id: string; repository_id: RepositoryId; algorithm: DigestAlgorithm; created_at: number }
}

export interface UploadRow {
  readonly id: string
  readonly algorithm: DigestAlgorithm
}

export async function insertUpload(
  transaction: Transaction,
  upload: { id: string; repositoryId: RepositoryId; algorithm: DigestAlgorithm },
): Promise<void> {
  await transaction
    .withTables<UploadTables>()
    .insertInto('uploads')
    .values({
      id: upload.id,
      repository_id: upload.repositoryId,
      algorithm: upload.algorithm,
      created_at: Date.now(),
    })
    .execute()
}

/** The upload of that id in that repository; an id alone opens nothing. */
export async function findUpload(
  connection: Connection,
  repositoryId: RepositoryId,
  id: string,
): Promise<UploadRow | undefined> {
  return connection
    .withTables<UploadTables>()
    .selectFrom('uploads')
    .select(['id', 'algorithm'])
    .where('id', '=', id)
    .where('repository_id', '=', repositoryId)
    .executeTakeFirst()
}

export async function countUploads(connection: Connection): Promise<number> {
  const row = await connection
    .withTables<UploadTables>()
    .selectFrom('uploads')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return row.count
}

/** The ids of the uploads that were started before a time, in milliseconds since 1970. */
export async function findUploadsStartedBefore(connection: Connection, time: number): Promise<string[]> {
  const rows = await connection
    .withTables<UploadTables>()
    .selectFrom('uploads')
    .select('id')
    .where('created_at', '<', time)
    .execute()
  return rows.map((row) => row.id)
}

/** @returns whether there was such an upload. */
export async function deleteUpload(transaction: Transaction, id: string): Promise<boolean> {
  const result = await transaction
    .withTables<UploadTables>()
    .deleteFrom('uploads')
    .where('id', '=', id)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}
