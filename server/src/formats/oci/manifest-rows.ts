import { type Digest, isDigest, type Reference } from '@entrepot/oci'
import type { RawBuilder } from 'kysely'
import { queryRepositoryId, type RepositoryId } from '#core/repositories'
import { type Connection, partsOf, prepareQuery, type Transaction, sql } from '#platform/database'
import { queryTagDigest } from './tag-rows.ts'

export type ManifestTables = {
  manifests: {
    repository_id: RepositoryId
    digest: Digest
    size_bytes: number
    media_type: string
    /** What the referrers list says. */
    artifact_type: string | null
    /** The digest of the manifest this one is attached to, whether or not that exists. */
    subject: string | null
    /** JSON; kept only where there is a subject, for the referrers list. */
    annotations: string | null
    /** 0 for an image, one more than its deepest child for an index. */
    nesting: number
    created_at: number
  }
  /** What a manifest needs in its repository: config and layers, or other manifests. */
  manifest_children: { repository_id: RepositoryId; parent: Digest; child: Digest }
}

/** What serving a manifest takes. Annotations, of up to some megabytes, are never read for that. */
export interface ManifestRow {
  readonly digest: Digest
  readonly sizeBytes: number
  readonly mediaType: string
}

/** What the referrers list says of a manifest. */
export interface ReferrerRow extends ManifestRow {
  readonly artifactType: string | undefined
  /** JSON. */
  readonly annotations: string | undefined
}

export interface NewManifest extends ReferrerRow {
  readonly subject: string | undefined
  readonly nesting: number
}

/** Which referrers of which manifest are asked for. */
export interface ReferrersQuery {
  readonly subject: Digest
  /** None asks for all. */
  readonly artifactTypes: readonly string[]
  readonly after: Digest | undefined
  readonly limit: number
}

const MAX_CHILDREN_PER_INSERT = 200

const tables = (connection: Connection) => connection.withTables<ManifestTables>()

const COLUMNS = ['digest', 'size_bytes as sizeBytes', 'media_type as mediaType'] as const

const selectManifest = prepareQuery<{ repositoryId: RepositoryId; digest: Digest }, ManifestRow>(
  ['repositoryId', 'digest'],
  (connection, { repositoryId, digest }) =>
    tables(connection)
      .selectFrom('manifests')
      .select(COLUMNS)
      .where('repository_id', '=', repositoryId)
      .where('digest', '=', digest),
)

export async function findManifest(
  connection: Connection,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<ManifestRow | undefined> {
  const [row] = await selectManifest(connection, { repositoryId, digest })
  return row
}

/** A manifest, and the repository that has it. */
export interface NamedManifestRow extends ManifestRow {
  readonly repositoryId: RepositoryId
}

const selectByDigest = prepareQuery<{ repository: string; digest: Digest }, NamedManifestRow>(
  ['repository', 'digest'],
  (connection, { repository, digest }) => selectNamed(connection, repository).where('digest', '=', digest),
)

const selectByTag = prepareQuery<{ repository: string; tag: string }, NamedManifestRow>(
  ['repository', 'tag'],
  (connection, { repository, tag }) =>
    selectNamed(connection, repository).where('digest', '=', queryTagDigest(connection, repository, tag)),
)

function selectNamed(connection: Connection, repository: RawBuilder<string>) {
  return tables(connection)
    .selectFrom('manifests')
    .select([...COLUMNS, 'repository_id as repositoryId'])
    .where('repository_id', '=', queryRepositoryId(connection, repository))
}

/** What a reference stands for in the repository of a name, in one round trip. */
export async function findNamedManifest(
  connection: Connection,
  repository: string,
  reference: Reference,
): Promise<NamedManifestRow | undefined> {
  const [row] =
    'digest' in reference
      ? await selectByDigest(connection, { repository, digest: reference.digest })
      : await selectByTag(connection, { repository, tag: reference.tag })
  return row
}

/** The sizes and depths of those of the digests that are manifests of the repository. */
export async function findManifests(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Map<Digest, Pick<NewManifest, 'sizeBytes' | 'nesting'>>> {
  const found = new Map<Digest, Pick<NewManifest, 'sizeBytes' | 'nesting'>>()
  for (const part of partsOf(digests)) {
    const rows = await tables(connection)
      .selectFrom('manifests')
      .select(['digest', 'size_bytes as sizeBytes', 'nesting'])
      .where('repository_id', '=', repositoryId)
      .where('digest', 'in', part)
      .execute()
    for (const row of rows) found.set(row.digest, row)
  }
  return found
}

/** Up to `limit` manifests of a repository after `after`, in the order of their digests. */
export async function listManifestDigests(
  connection: Connection,
  repositoryId: RepositoryId,
  after: string,
  limit: number,
): Promise<Digest[]> {
  const rows = await tables(connection)
    .selectFrom('manifests')
    .select('digest')
    .where('repository_id', '=', repositoryId)
    .where(sql<boolean>`digest > ${after}`)
    .orderBy('digest')
    .limit(limit)
    .execute()
  return rows.map((row) => row.digest)
}

/** Stores a manifest and what it needs; nothing changes if the repository has it already. */
export async function insertManifest(
  transaction: Transaction,
  repositoryId: RepositoryId,
  manifest: NewManifest,
  children: readonly Digest[],
): Promise<void> {
  const inserted = await tables(transaction)
    .insertInto('manifests')
    .values({
      repository_id: repositoryId,
      digest: manifest.digest,
      size_bytes: manifest.sizeBytes,
      media_type: manifest.mediaType,
      artifact_type: manifest.artifactType ?? null,
      subject: manifest.subject ?? null,
      annotations: manifest.annotations ?? null,
      nesting: manifest.nesting,
      created_at: Date.now(),
    })
    .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing())
    .executeTakeFirst()
  if (inserted.numInsertedOrUpdatedRows === 0n) return
  const rows = [...new Set(children)].map((child) => ({ repository_id: repositoryId, parent: manifest.digest, child }))
  for (let start = 0; start < rows.length; start += MAX_CHILDREN_PER_INSERT) {
    await tables(transaction)
      .insertInto('manifest_children')
      .values(rows.slice(start, start + MAX_CHILDREN_PER_INSERT))
      .execute()
  }
}

/** Removes a manifest with its tags. @returns whether there was one. */
export async function deleteManifestRow(
  transaction: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<boolean> {
  const result = await tables(transaction)
    .deleteFrom('manifests')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** A manifest of the repository that needs this blob or manifest, if there is one. */
export async function findParent(
  connection: Connection,
  repositoryId: RepositoryId,
  child: Digest,
): Promise<Digest | undefined> {
  const row = await tables(connection)
    .selectFrom('manifest_children')
    .select('parent')
    .where('repository_id', '=', repositoryId)
    .where('child', '=', child)
    .limit(1)
    .executeTakeFirst()
  return row?.parent
}

const selectReferrers = (connection: Connection, repositoryId: RepositoryId, query: ReferrersQuery) => {
  let select = tables(connection)
    .selectFrom('manifests')
    .where('repository_id', '=', repositoryId)
    .where('subject', '=', query.subject)
    .orderBy('digest')
    .limit(query.limit)
  if (query.after !== undefined) select = select.where('digest', '>', query.after)
  if (query.artifactTypes.length > 0) select = select.where('artifact_type', 'in', query.artifactTypes)
  return select
}

/**
 * How many bytes what is long in each referrer has, in the order of `findReferrers`. The database knows the length of a
 * text without reading it.
 */
export async function measureReferrers(
  connection: Connection,
  repositoryId: RepositoryId,
  query: ReferrersQuery,
): Promise<number[]> {
  const rows = await selectReferrers(connection, repositoryId, query)
    .select(
      sql<number>`coalesce(octet_length(artifact_type), 0) + coalesce(octet_length(annotations), 0)`.as('sizeBytes'),
    )
    .execute()
  return rows.map((row) => row.sizeBytes)
}

/** Manifests whose subject is this digest, after `after`, in the order of their digests. */
export async function findReferrers(
  connection: Connection,
  repositoryId: RepositoryId,
  query: ReferrersQuery,
): Promise<ReferrerRow[]> {
  const rows = await selectReferrers(connection, repositoryId, query)
    .select([...COLUMNS, 'artifact_type as artifactType', 'annotations'])
    .execute()
  return rows.map((row) => ({
    ...row,
    artifactType: row.artifactType ?? undefined,
    annotations: row.annotations ?? undefined,
  }))
}

/** A digest of a supported algorithm that begins so and that some manifest of the repository has as its subject. */
export async function findSubject(
  connection: Connection,
  repositoryId: RepositoryId,
  prefix: string,
): Promise<Digest | undefined> {
  const row = await tables(connection)
    .selectFrom('manifests')
    .select('subject')
    .where('repository_id', '=', repositoryId)
    .where('subject', '>=', prefix)
    // The digits of a digest all sort before "g".
    .where('subject', '<', `${prefix}g`)
    .orderBy('subject')
    .limit(1)
    .executeTakeFirst()
  return row?.subject !== null && row?.subject !== undefined && isDigest(row.subject) ? row.subject : undefined
}

/** Those of the digests that manifests of the repository need. */
export async function findNeededChildren(
  connection: Connection,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('manifest_children')
    .select('child')
    .distinct()
    .where('repository_id', '=', repositoryId)
    .where('child', 'in', digests)
    .execute()
  return new Set(rows.map((row) => row.child))
}

/** Those of the digests that are manifests of some repository. */
export async function findManifestDigests(connection: Connection, digests: readonly Digest[]): Promise<Set<Digest>> {
  const rows = await tables(connection)
    .selectFrom('manifests')
    .select('digest')
    .distinct()
    .where('digest', 'in', digests)
    .execute()
  return new Set(rows.map((row) => row.digest))
}
