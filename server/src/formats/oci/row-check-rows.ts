import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import { checkedValues, type Connection, sql } from '#platform/database'

/** Rows as they are found, whatever they hold: null stands for a value of the wrong type. */
export interface ManifestKeyRow {
  readonly rowid: number
  readonly repositoryId: RepositoryId | null
  readonly digest: string | null
}

export interface WholeManifestRow {
  readonly sizeBytes: number | null
  readonly mediaType: string | null
  readonly artifactType: string | null
  readonly subject: string | null
  /** JSON. */
  readonly annotations: string | null
  readonly nesting: number | null
  readonly createdAt: number | null
}

export interface ChildRow {
  readonly rowid: number
  readonly repositoryId: RepositoryId | null
  readonly parent: string | null
  readonly child: string | null
}

export interface TagRow {
  readonly rowid: number
  readonly repositoryId: RepositoryId | null
  readonly name: string | null
  readonly digest: string | null
  readonly updatedAt: number | null
}

/** A column as text whatever it holds, for a value of the wrong type must not look like an absent one. */
const anyText = (column: string) => sql<string | null>`cast(${sql.ref(column)} as text)`

/** Tables of the same form: what is served, and what rests in the trash. */
export interface RowPlace {
  readonly manifests: 'manifests' | 'deleted_manifests'
  readonly children: 'manifest_children' | 'deleted_manifest_children'
  readonly tags: 'tags' | 'deleted_tags'
}

/** Up to `limit` manifests after one, in the order of the file, without what may be long. */
export async function listManifestRows(
  connection: Connection,
  table: RowPlace['manifests'],
  after: number,
  limit: number,
): Promise<ManifestKeyRow[]> {
  const { text, whole } = checkedValues(connection)
  const { rows } = await sql<ManifestKeyRow>`select rowid, ${whole('repository_id')} as "repositoryId",
    ${text('digest')} as digest
    from ${sql.table(table)} where rowid > ${after} order by rowid limit ${limit}`.execute(connection)
  return rows
}

/** Everything that the row of a manifest says. */
export async function findWholeManifest(
  connection: Connection,
  table: RowPlace['manifests'],
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<WholeManifestRow | undefined> {
  const { text, whole } = checkedValues(connection)
  const { rows } = await sql<WholeManifestRow>`select ${whole('size_bytes')} as "sizeBytes",
    ${text('media_type')} as "mediaType", ${anyText('artifact_type')} as "artifactType",
    ${anyText('subject')} as subject, ${anyText('annotations')} as annotations,
    ${whole('nesting')} as nesting, ${whole('created_at')} as "createdAt"
    from ${sql.table(table)} where repository_id = ${repositoryId} and digest = ${digest}`.execute(connection)
  return rows[0]
}

/** A repository that has the manifest, where one has. */
export async function findManifestRepository(
  connection: Connection,
  digest: Digest,
): Promise<RepositoryId | undefined> {
  const { rows } = await sql<{ id: RepositoryId }>`select repository_id as id from manifests
    where digest = ${digest} limit 1`.execute(connection)
  return rows[0]?.id
}

/** What the rows say that a manifest needs. */
export async function findChildren(
  connection: Connection,
  table: RowPlace['children'],
  repositoryId: RepositoryId,
  parent: Digest,
): Promise<Set<unknown>> {
  const { rows } = await sql<{ child: unknown }>`select child from ${sql.table(table)}
    where repository_id = ${repositoryId} and parent = ${parent}`.execute(connection)
  return new Set(rows.map((row) => row.child))
}

/** Up to `limit` rows of what manifests need after one. */
export async function listChildRows(
  connection: Connection,
  table: RowPlace['children'],
  after: number,
  limit: number,
): Promise<ChildRow[]> {
  const { text, whole } = checkedValues(connection)
  const { rows } = await sql<ChildRow>`select rowid, ${whole('repository_id')} as "repositoryId",
    ${text('parent')} as parent, ${text('child')} as child
    from ${sql.table(table)} where rowid > ${after} order by rowid limit ${limit}`.execute(connection)
  return rows
}

/** Up to `limit` tags after one. */
export async function listTagRows(
  connection: Connection,
  table: RowPlace['tags'],
  after: number,
  limit: number,
): Promise<TagRow[]> {
  const { text, whole } = checkedValues(connection)
  const { rows } = await sql<TagRow>`select rowid, ${whole('repository_id')} as "repositoryId",
    ${text('name')} as name, ${text('digest')} as digest, ${whole('updated_at')} as "updatedAt"
    from ${sql.table(table)} where rowid > ${after} order by rowid limit ${limit}`.execute(connection)
  return rows
}
