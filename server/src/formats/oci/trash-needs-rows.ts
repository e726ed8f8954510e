import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import type { TrashTables } from './trash-rows.ts'

const tables = (connection: Connection) => connection.withTables<TrashTables>()

/** Those of the digests that manifests of the repository that rest need. */
export async function findChildrenOfDeleted(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('deleted_manifest_children')
    .select('child')
    .distinct()
    .where('repository_id', '=', repositoryId)
    .where('child', 'in', digests)
    .execute()
  return new Set(rows.map((row) => row.child))
}

/** Those of the digests that rest as manifests of some repository. */
export async function findDeletedDigests(connection: Connection, digests: readonly Digest[]): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('deleted_manifests')
    .select('digest')
    .distinct()
    .where('digest', 'in', digests)
    .execute()
  return new Set(rows.map((row) => row.digest))
}
