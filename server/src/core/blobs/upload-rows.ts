import type { Generated } from 'kysely'
import type { DigestAlgorithm } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection, Transaction } from '#platform/database'

type UploadTables = {
  uploads: {
    id: string
    repository_id: RepositoryId
    algorithm: DigestAlgorithm
    created_at: number
    /** The instance of which a request writes to it, and how often one has begun to. SQLite needs neither. */
    writer: string | null
    claims: Generated<number>
  }
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

/** That a request alone writes to an upload. */
export interface UploadClaim {
  /** Counts the claims of the upload. */
  readonly number: number
  /** Whether it was claimed by an instance that is gone without having given it back. */
  readonly isTakenOver: boolean
}

/**
 * Claims an upload for an instance.
 * @param claim.alive the instances whose claims count.
 * @returns undefined when there is no such upload.
 */
export async function claimUpload(
  transaction: Transaction,
  { id, writer, alive }: { id: string; writer: string; alive: ReadonlySet<string> },
): Promise<UploadClaim | 'taken' | undefined> {
  const tables = transaction.withTables<UploadTables>()
  const row = await tables.selectFrom('uploads').select(['writer', 'claims']).where('id', '=', id).executeTakeFirst()
  if (row === undefined) return undefined
  const isOfOther = row.writer !== null && row.writer !== writer
  if (row.writer !== null && isOfOther && alive.has(row.writer)) return 'taken'
  const number = row.claims + 1
  await tables.updateTable('uploads').set({ writer, claims: number }).where('id', '=', id).execute()
  return { number, isTakenOver: isOfOther }
}

/** The number of an upload's last claim; undefined when there is no such upload. */
export async function findClaim(connection: Connection, id: string): Promise<number | undefined> {
  const row = await connection
    .withTables<UploadTables>()
    .selectFrom('uploads')
    .select('claims')
    .where('id', '=', id)
    .executeTakeFirst()
  return row?.claims
}

/** Gives a claim back. @returns whether nobody has claimed the upload since. */
export async function releaseUpload(transaction: Transaction, id: string, number: number): Promise<boolean> {
  const result = await transaction
    .withTables<UploadTables>()
    .updateTable('uploads')
    .set({ writer: null })
    .where('id', '=', id)
    .where('claims', '=', number)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
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

/** All uploads by id: when they were started, in milliseconds since 1970, and how often they were claimed. */
export async function findOpenUploads(
  connection: Connection,
): Promise<Map<string, { startedAt: number; claims: number }>> {
  const rows = await connection
    .withTables<UploadTables>()
    .selectFrom('uploads')
    .select(['id', 'created_at as startedAt', 'claims'])
    .execute()
  return new Map(rows.map(({ id, ...rest }) => [id, rest]))
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
