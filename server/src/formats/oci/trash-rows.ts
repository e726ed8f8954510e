import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { partsOf, sql, type Connection, type Transaction } from '#platform/database'
import type { ManifestRow, ManifestTables } from './manifest-rows.ts'
import type { TagTables } from './tag-rows.ts'

/** Why something was deleted: somebody asked for it, or a rule of the configuration did. */
export type DeletionReason = 'request' | 'policy'

/** What is remembered of a deletion. */
export interface Deletion {
  /** Milliseconds since 1970. */
  readonly deletedAt: number
  readonly reason: DeletionReason
}

type DeletionColumns = { deleted_at: number; reason: DeletionReason }

/** Tables of their own: what serves live manifests cannot forget to leave these out. */
export type TrashTables = {
  deleted_manifests: ManifestTables['manifests'] & DeletionColumns
  deleted_manifest_children: ManifestTables['manifest_children']
  /** A name may rest several times, once for each manifest that it stood for. */
  deleted_tags: TagTables['tags'] & DeletionColumns & { went_with_manifest: 0 | 1 }
}

const MANIFEST_COLUMNS = [
  'repository_id',
  'digest',
  'size_bytes',
  'media_type',
  'artifact_type',
  'subject',
  'annotations',
  'nesting',
  'created_at',
] as const
const CHILD_COLUMNS = ['repository_id', 'parent', 'child'] as const
const TAG_COLUMNS = ['repository_id', 'digest', 'name', 'updated_at'] as const
const DELETION_COLUMNS = ['deleted_at', 'reason'] as const

const tables = (connection: Connection) => connection.withTables<ManifestTables & TagTables & TrashTables>()

/** Moves a manifest, with what it needs and its tags, into the trash. @returns whether there was one. */
export async function moveManifestToTrash(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
  deletion: Deletion,
): Promise<boolean> {
  const db = tables(transaction)
  const { deletedAt, reason } = deletion
  const moved = await db
    .insertInto('deleted_manifests')
    .columns([...MANIFEST_COLUMNS, ...DELETION_COLUMNS])
    .expression((from) =>
      from
        .selectFrom('manifests')
        .select([...MANIFEST_COLUMNS])
        .select([sql<number>`${deletedAt}`.as('deleted_at'), sql<DeletionReason>`${reason}`.as('reason')])
        .where('repository_id', '=', repositoryId)
        .where('digest', '=', digest),
    )
    .executeTakeFirst()
  if (moved.numInsertedOrUpdatedRows === 0n) return false
  await db
    .insertInto('deleted_manifest_children')
    .columns([...CHILD_COLUMNS])
    .expression((from) =>
      from
        .selectFrom('manifest_children')
        .select([...CHILD_COLUMNS])
        .where('repository_id', '=', repositoryId)
        .where('parent', '=', digest),
    )
    .execute()
  await db
    .insertInto('deleted_tags')
    .columns([...TAG_COLUMNS, ...DELETION_COLUMNS, 'went_with_manifest'])
    .expression((from) =>
      from
        .selectFrom('tags')
        .select([...TAG_COLUMNS])
        .select([sql<number>`${deletedAt}`.as('deleted_at'), sql<DeletionReason>`${reason}`.as('reason')])
        .select(sql<1>`1`.as('went_with_manifest'))
        .where('repository_id', '=', repositoryId)
        .where('digest', '=', digest),
    )
    .execute()
  // Its children and tags go with it.
  await db.deleteFrom('manifests').where('repository_id', '=', repositoryId).where('digest', '=', digest).execute()
  return true
}

/** Moves a tag alone into the trash. @returns whether there was one. */
export async function moveTagToTrash(
  transaction: Transaction,
  repositoryId: RepositoryId,
  name: string,
  deletion: Deletion,
): Promise<boolean> {
  const db = tables(transaction)
  const tag = await db
    .deleteFrom('tags')
    .where('repository_id', '=', repositoryId)
    .where('name', '=', name)
    .returning([...TAG_COLUMNS])
    .executeTakeFirst()
  if (tag === undefined) return false
  await db
    .insertInto('deleted_tags')
    .values({ ...tag, deleted_at: deletion.deletedAt, reason: deletion.reason, went_with_manifest: 0 })
    .execute()
  return true
}

/** Those of the digests that rest as manifests of the repository. */
export async function findDeletedManifests(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<ManifestRow[]> {
  const found: ManifestRow[] = []
  for (const part of partsOf(digests)) {
    const rows = await tables(connection)
      .selectFrom('deleted_manifests')
      .select(['digest', 'size_bytes as sizeBytes', 'media_type as mediaType'])
      .where('repository_id', '=', repositoryId)
      .where('digest', 'in', part)
      .execute()
    found.push(...rows)
  }
  return found
}

/** The manifests that rest, and that a resting manifest lists. */
export async function findDeletedChildren(
  connection: Connection,
  repositoryId: RepositoryId,
  parent: Digest,
): Promise<ManifestRow[]> {
  return tables(connection)
    .selectFrom('deleted_manifest_children as listed')
    .innerJoin('deleted_manifests as manifest', (join) =>
      join.onRef('manifest.repository_id', '=', 'listed.repository_id').onRef('manifest.digest', '=', 'listed.child'),
    )
    .select(['manifest.digest', 'manifest.size_bytes as sizeBytes', 'manifest.media_type as mediaType'])
    .where('listed.repository_id', '=', repositoryId)
    .where('listed.parent', '=', parent)
    .execute()
}

/** What a tag that rests stood for; of several with the name, the one that was deleted last. */
export async function findDeletedTag(
  connection: Connection,
  repositoryId: RepositoryId,
  name: string,
): Promise<Digest | undefined> {
  const row = await tables(connection)
    .selectFrom('deleted_tags')
    .select('digest')
    .where('repository_id', '=', repositoryId)
    .where('name', '=', name)
    .orderBy('deleted_at', 'desc')
    // Of one millisecond, the later one has the higher number.
    .orderBy(sql`rowid`, 'desc')
    .limit(1)
    .executeTakeFirst()
  return row?.digest
}

/** The tags that went with a manifest when it was deleted. */
export async function findTagsOfDeleted(
  connection: Connection,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<string[]> {
  const rows = await tables(connection)
    .selectFrom('deleted_tags')
    .select('name')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .where('went_with_manifest', '=', 1)
    .orderBy('name')
    .execute()
  return rows.map((row) => row.name)
}

/** Moves a manifest that rests, with what it needs, back to where it was. */
export async function moveManifestBack(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<void> {
  const db = tables(transaction)
  await db
    .insertInto('manifests')
    .columns([...MANIFEST_COLUMNS])
    .expression((from) =>
      from
        .selectFrom('deleted_manifests')
        .select([...MANIFEST_COLUMNS])
        .where('repository_id', '=', repositoryId)
        .where('digest', '=', digest),
    )
    .execute()
  await db
    .insertInto('manifest_children')
    .columns([...CHILD_COLUMNS])
    .expression((from) =>
      from
        .selectFrom('deleted_manifest_children')
        .select([...CHILD_COLUMNS])
        .where('repository_id', '=', repositoryId)
        .where('parent', '=', digest),
    )
    .execute()
  await deleteRestingManifest(transaction, repositoryId, digest)
}

/** Moves a tag that rests back, under its own name or another one; that name must be free, or stand for the same. */
export async function moveTagBack(
  transaction: Transaction,
  repositoryId: RepositoryId,
  tag: { digest: Digest; name: string },
  asName: string,
): Promise<void> {
  const db = tables(transaction)
  const resting = await db
    .deleteFrom('deleted_tags')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', tag.digest)
    .where('name', '=', tag.name)
    .returning([...TAG_COLUMNS])
    .executeTakeFirstOrThrow()
  // A tag that is there does not rest: the other name may have stood for the same manifest before.
  await deleteRestingTags(transaction, repositoryId, tag.digest, [asName])
  await db
    .insertInto('tags')
    .values({ ...resting, name: asName })
    .onConflict((conflict) => conflict.columns(['repository_id', 'name']).doNothing())
    .execute()
}

/**
 * Forgets that a manifest and tags rest, because they were pushed again. Other tags of the manifest rest on: they can
 * be restored to it.
 */
export async function forgetPushed(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
  tags: readonly string[],
): Promise<void> {
  await deleteRestingManifest(transaction, repositoryId, digest)
  if (tags.length > 0) await deleteRestingTags(transaction, repositoryId, digest, tags)
}

async function deleteRestingTags(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
  names: readonly string[],
): Promise<void> {
  await tables(transaction)
    .deleteFrom('deleted_tags')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .where('name', 'in', names)
    .execute()
}

async function deleteRestingManifest(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<void> {
  await tables(transaction)
    .deleteFrom('deleted_manifests')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .execute()
}
