import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { sql, type Connection, type Transaction } from '#platform/database'
import type { Deletion, TrashTables } from './trash-rows.ts'

/** Where an entry stands in the list: a manifest comes before the tags that stood for it. */
export interface TrashPosition {
  readonly repositoryId: RepositoryId
  readonly digest: Digest
  /** Empty for the manifest itself. */
  readonly tag: string
}

/** A manifest or a tag that rests. */
export interface TrashRow extends TrashPosition, Deletion {
  /** Null for a tag. */
  readonly mediaType: string | null
  readonly sizeBytes: number | null
}

const tables = (connection: Connection) => connection.withTables<TrashTables>()

/** Up to `limit` of what rests after a position, in all repositories or in one. */
export async function listTrashRows(
  connection: Connection,
  query: { repositoryId: RepositoryId | undefined; after: TrashPosition | undefined; limit: number },
): Promise<TrashRow[]> {
  const { repositoryId, after, limit } = query
  let manifests = tables(connection)
    .selectFrom('deleted_manifests')
    .select(['repository_id as repositoryId', 'digest', sql<string>`''`.as('tag')])
    .select([sql<string | null>`media_type`.as('mediaType'), sql<number | null>`size_bytes`.as('sizeBytes')])
    .select(['deleted_at as deletedAt', 'reason'])
  let tags = tables(connection)
    .selectFrom('deleted_tags')
    .select(['repository_id as repositoryId', 'digest', 'name as tag'])
    .select([sql<string | null>`null`.as('mediaType'), sql<number | null>`null`.as('sizeBytes')])
    .select(['deleted_at as deletedAt', 'reason'])
  if (repositoryId !== undefined) {
    manifests = manifests.where('repository_id', '=', repositoryId)
    tags = tags.where('repository_id', '=', repositoryId)
  }
  if (after !== undefined) {
    const { repositoryId: id, digest, tag } = after
    manifests = manifests.where(sql<boolean>`(repository_id, digest) > (${id}, ${digest})`)
    tags = tags.where(sql<boolean>`(repository_id, digest, name) > (${id}, ${digest}, ${tag})`)
  }
  return manifests.unionAll(tags).orderBy('repositoryId').orderBy('digest').orderBy('tag').limit(limit).execute()
}

/**
 * Forgets up to `limit` manifests, and as many tags, that were deleted before a time, in all repositories or in one.
 * @param which.before milliseconds since 1970.
 */
export async function deleteTrashRows(
  transaction: Transaction,
  which: { before: number; repositoryId: RepositoryId | undefined },
  limit: number,
): Promise<{ manifests: number; tags: number }> {
  const { before, repositoryId } = which
  const db = tables(transaction)
  let manifests = db
    .selectFrom('deleted_manifests')
    .select(sql`rowid`.as('id'))
    .where('deleted_at', '<', before)
  let tags = db
    .selectFrom('deleted_tags')
    .select(sql`rowid`.as('id'))
    .where('deleted_at', '<', before)
  if (repositoryId !== undefined) {
    manifests = manifests.where('repository_id', '=', repositoryId)
    tags = tags.where('repository_id', '=', repositoryId)
  }
  const deletedManifests = await db
    .deleteFrom('deleted_manifests')
    .where(sql`rowid`, 'in', manifests.limit(limit))
    .executeTakeFirst()
  const deletedTags = await db
    .deleteFrom('deleted_tags')
    .where(sql`rowid`, 'in', tags.limit(limit))
    .executeTakeFirst()
  return { manifests: Number(deletedManifests.numDeletedRows), tags: Number(deletedTags.numDeletedRows) }
}

/** Whether anything rests that was deleted before a time, in all repositories or in one. */
export async function hasTrashBefore(
  connection: Connection,
  which: { before: number; repositoryId: RepositoryId | undefined },
): Promise<boolean> {
  const { before, repositoryId } = which
  const db = tables(connection)
  let manifests = db.selectFrom('deleted_manifests').select('digest').where('deleted_at', '<', before).limit(1)
  let tags = db.selectFrom('deleted_tags').select('digest').where('deleted_at', '<', before).limit(1)
  if (repositoryId !== undefined) {
    manifests = manifests.where('repository_id', '=', repositoryId)
    tags = tags.where('repository_id', '=', repositoryId)
  }
  return (await manifests.executeTakeFirst()) !== undefined || (await tags.executeTakeFirst()) !== undefined
}

/** Lets what was deleted at a time that is still to come rest from now: the clock was ahead, and has been set back. */
export async function correctTrashTimes(transaction: Transaction, now: number): Promise<void> {
  const db = tables(transaction)
  await db.updateTable('deleted_manifests').set({ deleted_at: now }).where('deleted_at', '>', now).execute()
  await db.updateTable('deleted_tags').set({ deleted_at: now }).where('deleted_at', '>', now).execute()
}
