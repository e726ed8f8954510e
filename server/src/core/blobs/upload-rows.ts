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

/** How many uploads are open, but for those of some ids. */
export async function countUploads(connection: Connection, except: readonly string[] = []): Promise<number> {
  let select = connection
    .withTables<UploadTables>()
    .selectFrom('uploads')
    .select((expression) => expression.fn.countAll<number>().as('count'))
  if (except.length > 0) select = select.where('id', 'not in', except)
  return (await select.executeTakeFirstOrThrow()).count
}

/** The ids of all uploads, with when they were started, in milliseconds since 1970. */
export async function findUploadTimes(connection: Connection): Promise<Map<string, number>> {
  const rows = await connection.withTables<UploadTables>().selectFrom('uploads').select(['id', 'created_at']).execute()
  return new Map(rows.map((row) => [row.id, row.created_at]))
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
