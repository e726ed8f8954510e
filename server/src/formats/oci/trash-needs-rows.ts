import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import type { TrashTables } from './trash-rows.ts'

const tables = (connection: Connection) => connection.withTables<TrashTables>()

/** Those of the digests that manifests of the repository need that rest since a time or later. */
export async function findChildrenOfDeleted(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
  since = 0,
): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('deleted_manifest_children')
    .innerJoin('deleted_manifests', (join) =>
      join
        .onRef('deleted_manifests.repository_id', '=', 'deleted_manifest_children.repository_id')
        .onRef('deleted_manifests.digest', '=', 'parent'),
    )
    .select('child')
    .distinct()
    .where('deleted_manifest_children.repository_id', '=', repositoryId)
    .where('child', 'in', digests)
    .where('deleted_at', '>=', since)
    .execute()
  return new Set(rows.map((row) => row.child))
}

/** Those of the digests that rest as manifests of some repository since a time or later. */
export async function findDeletedDigests(
  connection: Connection,
  digests: readonly Digest[],
  since = 0,
): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('deleted_manifests')
    .select('digest')
    .distinct()
    .where('digest', 'in', digests)
    .where('deleted_at', '>=', since)
    .execute()
  return new Set(rows.map((row) => row.digest))
}
