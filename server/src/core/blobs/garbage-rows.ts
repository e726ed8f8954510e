import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { sql, type Connection, type Transaction } from '#platform/database'

type GarbageTables = {
  blobs: { digest: Digest; size_bytes: number }
  repository_blobs: { repository_id: RepositoryId; digest: Digest }
  /** Blobs of repositories that nothing was found to need, and since when. */
  unneeded_blobs: { repository_id: RepositoryId; digest: Digest; since: number }
}

/** That a repository has a blob. */
export interface Membership {
  readonly repositoryId: RepositoryId
  readonly digest: Digest
}

const tables = (connection: Connection) => connection.withTables<GarbageTables>()

const SELECTED = ['repository_id as repositoryId', 'digest'] as const

/** Up to `limit` memberships after one, in the order of repository and digest. */
export async function listMemberships(
  connection: Connection,
  after: Membership | undefined,
  limit: number,
): Promise<Membership[]> {
  let select = tables(connection)
    .selectFrom('repository_blobs')
    .select(SELECTED)
    .orderBy('repository_id')
    .orderBy('digest')
    .limit(limit)
  if (after !== undefined) {
    select = select.where(sql<boolean>`(repository_id, digest) > (${after.repositoryId}, ${after.digest})`)
  }
  return select.execute()
}

/** Those of a repository's digests of which it is noted that nothing needs them, and since when it is. */
export async function findUnneeded(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Map<Digest, number>> {
  const rows = await tables(connection)
    .selectFrom('unneeded_blobs')
    .select(['digest', 'since'])
    .where('repository_id', '=', repositoryId)
    .where('digest', 'in', digests)
    .execute()
  return new Map(rows.map((row) => [row.digest, row.since]))
}

/** Notes that nothing needs the blobs, unless that was noted before. */
export async function insertUnneeded(
  transaction: Transaction,
  memberships: readonly Membership[],
  since: number,
): Promise<void> {
  if (memberships.length === 0) return
  await tables(transaction)
    .insertInto('unneeded_blobs')
    .values(memberships.map(({ repositoryId, digest }) => ({ repository_id: repositoryId, digest, since })))
    .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing())
    .execute()
}

/** Up to `limit` of the blobs that nothing has needed since a time or longer, in milliseconds since 1970. */
export async function listUnneeded(connection: Connection, until: number, limit: number): Promise<Membership[]> {
  return tables(connection)
    .selectFrom('unneeded_blobs')
    .select(SELECTED)
    .where('since', '<=', until)
    .orderBy('since')
    .limit(limit)
    .execute()
}

/** Forgets that nothing needs a blob. @returns whether that was noted. */
export async function deleteUnneeded(transaction: Transaction, membership: Membership): Promise<boolean> {
  const result = await tables(transaction)
    .deleteFrom('unneeded_blobs')
    .where('repository_id', '=', membership.repositoryId)
    .where('digest', '=', membership.digest)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** Forgets that nothing needs some of a repository's blobs. @returns those of which that was noted. */
export async function deleteNotes(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Digest[]> {
  const rows = await tables(transaction)
    .deleteFrom('unneeded_blobs')
    .where('repository_id', '=', repositoryId)
    .where('digest', 'in', digests)
    .returning('digest')
    .execute()
  return rows.map((row) => row.digest)
}

/** Takes blobs from a repository; others keep them. @returns how many of them it had. */
export async function deleteMemberships(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<number> {
  const result = await tables(transaction)
    .deleteFrom('repository_blobs')
    .where('repository_id', '=', repositoryId)
    .where('digest', 'in', digests)
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}

/** Up to `limit` digests of all that is stored, after one, in their order. */
export async function listStored(connection: Connection, after: Digest | undefined, limit: number): Promise<Digest[]> {
  let select = tables(connection).selectFrom('blobs').select('digest').orderBy('digest').limit(limit)
  if (after !== undefined) select = select.where('digest', '>', after)
  return (await select.execute()).map((row) => row.digest)
}

/** Up to `limit` of all contents after one, in the order of digests, with the number of repositories that have it as a blob. */
export async function listStoredUse(
  connection: Connection,
  after: Digest | undefined,
  limit: number,
): Promise<{ digest: Digest; sizeBytes: number; memberships: number }[]> {
  let select = tables(connection)
    .selectFrom('blobs')
    .select((content) => [
      'blobs.digest',
      'blobs.size_bytes as sizeBytes',
      content
        .selectFrom('repository_blobs')
        .select(({ fn }) => fn.countAll<number>().as('count'))
        .whereRef('repository_blobs.digest', '=', 'blobs.digest')
        .$asScalar()
        .$notNull()
        .as('memberships'),
    ])
    .orderBy('blobs.digest')
    .limit(limit)
  if (after !== undefined) select = select.where('blobs.digest', '>', after)
  return select.execute()
}

/** Those of the digests that no repository has as a blob. */
export async function findWithoutMembership(connection: Connection, digests: readonly Digest[]): Promise<Digest[]> {
  if (digests.length === 0) return []
  const rows = await tables(connection)
    .selectFrom('repository_blobs')
    .select('digest')
    .distinct()
    .where('digest', 'in', digests)
    .execute()
  const had = new Set(rows.map((row) => row.digest))
  return digests.filter((digest) => !had.has(digest))
}

/** Forgets that content is stored. @returns what was, with its size. */
export async function deleteStored(
  transaction: Transaction,
  digests: readonly Digest[],
): Promise<{ digest: Digest; sizeBytes: number }[]> {
  if (digests.length === 0) return []
  return tables(transaction)
    .deleteFrom('blobs')
    .where('digest', 'in', digests)
    .returning(['digest', 'size_bytes as sizeBytes'])
    .execute()
}

/** Lets what was noted at a time that is still to come count from now: the clock was ahead, and has been set back. */
export async function correctUnneededTimes(transaction: Transaction, now: number): Promise<void> {
  await tables(transaction).updateTable('unneeded_blobs').set({ since: now }).where('since', '>', now).execute()
}
