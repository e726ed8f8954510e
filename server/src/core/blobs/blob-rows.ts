import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { type Connection, partsOf, type Transaction } from '#platform/database'
import { deleteNotes } from './garbage-rows.ts'

type BlobTables = {
  /** Everything the store has, whoever it belongs to. */
  blobs: { digest: Digest; size_bytes: number; created_at: number }
  /** Which repository has which blob: the only thing that makes a blob readable. */
  repository_blobs: { repository_id: RepositoryId; digest: Digest; created_at: number }
}

const MAX_ROWS_PER_INSERT = 200

/** The size of stored content, whichever repository has it. */
export async function findStoredSize(connection: Connection, digest: Digest): Promise<number | undefined> {
  const row = await connection
    .withTables<BlobTables>()
    .selectFrom('blobs')
    .select('size_bytes')
    .where('digest', '=', digest)
    .executeTakeFirst()
  return row?.size_bytes
}

/** Those of the digests that are stored, whichever repository has them. */
export async function findStoredDigests(connection: Connection, digests: readonly Digest[]): Promise<Set<Digest>> {
  if (digests.length === 0) return new Set()
  const rows = await connection
    .withTables<BlobTables>()
    .selectFrom('blobs')
    .select('digest')
    .where('digest', 'in', digests)
    .execute()
  return new Set(rows.map((row) => row.digest))
}

/** The sizes, in bytes, of those of the digests that the repository has. */
export async function findBlobSizes(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Map<Digest, number>> {
  const sizes = new Map<Digest, number>()
  for (const part of partsOf(digests)) {
    const rows = await connection
      .withTables<BlobTables>()
      .selectFrom('repository_blobs')
      .innerJoin('blobs', 'blobs.digest', 'repository_blobs.digest')
      .select(['blobs.digest', 'blobs.size_bytes'])
      .where('repository_blobs.repository_id', '=', repositoryId)
      .where('repository_blobs.digest', 'in', part)
      .execute()
    for (const row of rows) sizes.set(row.digest, row.size_bytes)
  }
  return sizes
}

/** Some of the repositories that have the blob, the oldest membership first. */
export async function findRepositoriesWithBlob(
  connection: Connection,
  digest: Digest,
  limit: number,
): Promise<RepositoryId[]> {
  const rows = await connection
    .withTables<BlobTables>()
    .selectFrom('repository_blobs')
    .select('repository_id')
    .where('digest', '=', digest)
    .orderBy('created_at')
    .limit(limit)
    .execute()
  return rows.map((row) => row.repository_id)
}

/** Up to `limit` of all contents after one, in the order of digests, with their sizes in bytes. */
export async function listContents(
  connection: Connection,
  after: Digest | undefined,
  limit: number,
): Promise<{ digest: Digest; sizeBytes: number }[]> {
  let select = connection
    .withTables<BlobTables>()
    .selectFrom('blobs')
    .select(['digest', 'size_bytes as sizeBytes'])
    .orderBy('digest')
    .limit(limit)
  if (after !== undefined) select = select.where('digest', '>', after)
  return select.execute()
}

/** The sizes, in bytes, of those of the digests that are stored, whichever repository has them. */
export async function findStoredSizes(
  connection: Connection,
  digests: readonly Digest[],
): Promise<Map<Digest, number>> {
  const sizes = new Map<Digest, number>()
  for (const part of partsOf(digests)) {
    const rows = await connection
      .withTables<BlobTables>()
      .selectFrom('blobs')
      .select(['digest', 'size_bytes'])
      .where('digest', 'in', part)
      .execute()
    for (const row of rows) sizes.set(row.digest, row.size_bytes)
  }
  return sizes
}

export async function insertBlob(transaction: Transaction, digest: Digest, sizeBytes: number): Promise<void> {
  await insertBlobs(transaction, new Map([[digest, sizeBytes]]))
}

/** Notes that content was stored, with its sizes in bytes. */
export async function insertBlobs(transaction: Transaction, sizes: ReadonlyMap<Digest, number>): Promise<void> {
  const createdAt = Date.now()
  const rows = [...sizes].map(([digest, sizeBytes]) => ({ digest, size_bytes: sizeBytes, created_at: createdAt }))
  for (let start = 0; start < rows.length; start += MAX_ROWS_PER_INSERT) {
    await transaction
      .withTables<BlobTables>()
      .insertInto('blobs')
      .values(rows.slice(start, start + MAX_ROWS_PER_INSERT))
      .onConflict((conflict) => conflict.column('digest').doNothing())
      .execute()
  }
}

/** Gives a repository a blob; what was noted of its not being needed no longer counts. */
export async function insertMembership(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<void> {
  await insertMemberships(transaction, repositoryId, [digest])
}

/** Gives a repository blobs, as `insertMembership` does. */
export async function insertMemberships(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<void> {
  const createdAt = Date.now()
  const rows = digests.map((digest) => ({ repository_id: repositoryId, digest, created_at: createdAt }))
  for (let start = 0; start < rows.length; start += MAX_ROWS_PER_INSERT) {
    await transaction
      .withTables<BlobTables>()
      .insertInto('repository_blobs')
      .values(rows.slice(start, start + MAX_ROWS_PER_INSERT))
      .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing())
      .execute()
  }
  if (digests.length > 0) await deleteNotes(transaction, repositoryId, digests)
}

/** @returns whether the repository had the blob. */
export async function deleteMembership(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<boolean> {
  const result = await transaction
    .withTables<BlobTables>()
    .deleteFrom('repository_blobs')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}
