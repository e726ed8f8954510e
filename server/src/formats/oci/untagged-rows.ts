import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { partsOf, sql, type Connection, type Transaction } from '#platform/database'
import type { ManifestTables } from './manifest-rows.ts'

type UntaggedTables = {
  /** Manifests that were found to have no tag, and to be needed by nothing else, and since when. */
  untagged_manifests: { repository_id: RepositoryId; digest: Digest; since: number }
}

/** That a repository has a manifest. */
export interface ManifestKey {
  readonly repositoryId: RepositoryId
  readonly digest: Digest
}

const SELECTED = ['repository_id as repositoryId', 'digest'] as const

const tables = (connection: Connection) => connection.withTables<ManifestTables & UntaggedTables>()

/** Up to `limit` manifests after one, in the order of repository and digest. */
export async function listManifestKeys(
  connection: Connection,
  after: ManifestKey | undefined,
  limit: number,
): Promise<ManifestKey[]> {
  let select = tables(connection)
    .selectFrom('manifests')
    .select(SELECTED)
    .orderBy('repository_id')
    .orderBy('digest')
    .limit(limit)
  if (after !== undefined) {
    select = select.where(sql<boolean>`(repository_id, digest) > (${after.repositoryId}, ${after.digest})`)
  }
  return select.execute()
}

/**
 * Those of the digests that are manifests of the repository without a tag, listed by no index, and attached to nothing
 * that the repository has, or could get back out of the trash.
 */
export async function findUntagged(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('manifests as manifest')
    .select('manifest.digest')
    .where('manifest.repository_id', '=', repositoryId)
    .where('manifest.digest', 'in', digests)
    .where(
      sql<boolean>`not exists (
        select 1 from tags where tags.repository_id = manifest.repository_id and tags.digest = manifest.digest)`,
    )
    .where(
      sql<boolean>`not exists (
        select 1 from manifest_children as listed
        where listed.repository_id = manifest.repository_id and listed.child = manifest.digest)`,
    )
    .where(
      sql<boolean>`not exists (
        select 1 from manifests as subject
        where subject.repository_id = manifest.repository_id and subject.digest = manifest.subject)`,
    )
    .where(
      sql<boolean>`not exists (
        select 1 from deleted_manifests as subject
        where subject.repository_id = manifest.repository_id and subject.digest = manifest.subject)`,
    )
    .execute()
  return new Set(rows.map((row) => row.digest))
}

/** Notes that manifests are untagged, from a time on (milliseconds since 1970), unless that was noted before. */
export async function insertUntagged(
  transaction: Transaction,
  manifests: readonly ManifestKey[],
  since: number,
): Promise<void> {
  if (manifests.length === 0) return
  await tables(transaction)
    .insertInto('untagged_manifests')
    .values(manifests.map(({ repositoryId, digest }) => ({ repository_id: repositoryId, digest, since })))
    .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing())
    .execute()
}

/** Those of the digests of which it has been noted since before a time, if one is given, that they are untagged. */
export async function findNotedUntagged(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
  before = Number.MAX_SAFE_INTEGER,
): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('untagged_manifests')
    .select('digest')
    .where('repository_id', '=', repositoryId)
    .where('digest', 'in', digests)
    .where('since', '<', before)
    .execute()
  return new Set(rows.map((row) => row.digest))
}

/** Up to `limit` manifests that have been noted as untagged since before a time, after a place in that list. */
export async function listNotedUntagged(
  connection: Connection,
  query: { before: number; after: (ManifestKey & { since: number }) | undefined; limit: number },
): Promise<(ManifestKey & { since: number })[]> {
  const { before, after, limit } = query
  let select = tables(connection)
    .selectFrom('untagged_manifests')
    .select([...SELECTED, 'since'])
    .where('since', '<', before)
    .orderBy('since')
    .orderBy('repository_id')
    .orderBy('digest')
    .limit(limit)
  if (after !== undefined) {
    const { since, repositoryId, digest } = after
    select = select.where(sql<boolean>`(since, repository_id, digest) > (${since}, ${repositoryId}, ${digest})`)
  }
  return select.execute()
}

/** Forgets that manifests are untagged: they were pushed again, tagged or listed. */
export async function deleteUntagged(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<void> {
  for (const part of partsOf(digests)) {
    await tables(transaction)
      .deleteFrom('untagged_manifests')
      .where('repository_id', '=', repositoryId)
      .where('digest', 'in', part)
      .execute()
  }
}

/** Lets what was noted at a time that is still to come count from now: the clock was ahead, and has been set back. */
export async function correctUntaggedTimes(transaction: Transaction, now: number): Promise<void> {
  await tables(transaction).updateTable('untagged_manifests').set({ since: now }).where('since', '>', now).execute()
}
