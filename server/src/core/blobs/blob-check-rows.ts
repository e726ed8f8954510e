import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { checkedValues, type Connection, sql } from '#platform/database'

/** Rows as they are found, whatever they hold: null stands for a value of the wrong type. */
export interface StoredRow {
  readonly rowid: number
  readonly digest: string | null
  readonly sizeBytes: number | null
  readonly createdAt: number | null
}

export interface MembershipRow {
  readonly rowid: number
  readonly repositoryId: RepositoryId | null
  readonly digest: string | null
  readonly time: number | null
}

export interface OpenUploadRow {
  readonly rowid: number
  readonly id: string | null
  readonly repositoryId: RepositoryId | null
  readonly algorithm: string | null
  readonly createdAt: number | null
}

type CheckTables = {
  blobs: { rowid: number; digest: Digest; size_bytes: number; created_at: number }
  repository_blobs: { rowid: number; repository_id: RepositoryId; digest: Digest; created_at: number }
  unneeded_blobs: { rowid: number; repository_id: RepositoryId; digest: Digest; since: number }
  uploads: { rowid: number; id: string; repository_id: RepositoryId; algorithm: string; created_at: number }
}

const tables = (connection: Connection) => connection.withTables<CheckTables>()

function storedColumns(connection: Connection) {
  const { text, whole } = checkedValues(connection)
  return [
    'rowid',
    text('digest').as('digest'),
    whole('size_bytes').as('sizeBytes'),
    whole('created_at').as('createdAt'),
  ] as const
}

/** Up to `limit` rows of stored content after one, in the order of the file. */
export async function listStoredRows(connection: Connection, after: number, limit: number): Promise<StoredRow[]> {
  return tables(connection)
    .selectFrom('blobs')
    .select(storedColumns(connection))
    .where('rowid', '>', after)
    .orderBy('rowid')
    .limit(limit)
    .execute()
}

/** The same, after a digest, in the order of digests. */
export async function listStoredRowsByDigest(
  connection: Connection,
  after: string,
  limit: number,
): Promise<StoredRow[]> {
  return tables(connection)
    .selectFrom('blobs')
    .select(storedColumns(connection))
    .where(sql<boolean>`digest > ${after}`)
    .orderBy('digest')
    .limit(limit)
    .execute()
}

/** The row of stored content as it is now. */
export async function findStoredRow(connection: Connection, digest: Digest): Promise<StoredRow | undefined> {
  return tables(connection)
    .selectFrom('blobs')
    .select(storedColumns(connection))
    .where('digest', '=', digest)
    .executeTakeFirst()
}

/** Those of the digests that the database knows as stored. */
export async function findStored(connection: Connection, digests: readonly Digest[]): Promise<Set<Digest>> {
  if (digests.length === 0) return new Set()
  const rows = await tables(connection).selectFrom('blobs').select('digest').where('digest', 'in', digests).execute()
  return new Set(rows.map((row) => row.digest))
}

/** Up to `limit` rows that say which repository has which blob, or which it does not need, after one. */
export async function listMembershipRows(
  connection: Connection,
  table: 'repository_blobs' | 'unneeded_blobs',
  after: number,
  limit: number,
): Promise<MembershipRow[]> {
  const time = table === 'repository_blobs' ? 'created_at' : 'since'
  const { text, whole } = checkedValues(connection)
  const rows = await sql<MembershipRow>`select rowid, ${whole('repository_id')} as "repositoryId",
    ${text('digest')} as digest, ${whole(time)} as time
    from ${sql.table(table)} where rowid > ${after} order by rowid limit ${limit}`.execute(connection)
  return rows.rows
}

/** Up to `limit` rows of open uploads after one. */
export async function listUploadRows(connection: Connection, after: number, limit: number): Promise<OpenUploadRow[]> {
  const { text, whole } = checkedValues(connection)
  return tables(connection)
    .selectFrom('uploads')
    .select([
      'rowid',
      text('id').as('id'),
      whole('repository_id').as('repositoryId'),
      text('algorithm').as('algorithm'),
      whole('created_at').as('createdAt'),
    ])
    .where('rowid', '>', after)
    .orderBy('rowid')
    .limit(limit)
    .execute()
}

/** Whether there is an upload of that id. */
export async function hasUpload(connection: Connection, id: string): Promise<boolean> {
  const row = await tables(connection).selectFrom('uploads').select('id').where('id', '=', id).executeTakeFirst()
  return row !== undefined
}
