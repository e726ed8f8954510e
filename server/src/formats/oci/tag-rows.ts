import type { Digest } from '@entrepot/oci'
import type { RawBuilder } from 'kysely'
import { queryRepositoryId, type RepositoryId } from '#core/repositories'
import {
  type Connection,
  type JoinedNames,
  joinNames,
  partsOf,
  prepareQuery,
  splitNames,
  type Transaction,
} from '#platform/database'

export type TagTables = {
  tags: { repository_id: RepositoryId; name: string; digest: Digest; updated_at: number }
}

const selectDigest = prepareQuery<{ repositoryId: RepositoryId; name: string }, { digest: Digest }>(
  ['repositoryId', 'name'],
  (connection, { repositoryId, name }) =>
    connection
      .withTables<TagTables>()
      .selectFrom('tags')
      .select('digest')
      .where('repository_id', '=', repositoryId)
      .where('name', '=', name),
)

/** Finds what a tag of a repository stands for, within another query: that spares a round trip. */
export function queryTagDigest(connection: Connection, repository: RawBuilder<string>, tag: RawBuilder<string>) {
  return connection
    .withTables<TagTables>()
    .selectFrom('tags')
    .select('digest')
    .where('repository_id', '=', queryRepositoryId(connection, repository))
    .where('name', '=', tag)
}

/** The digest that a tag stands for now. */
export async function findTag(
  connection: Connection,
  repositoryId: RepositoryId,
  name: string,
): Promise<Digest | undefined> {
  const [row] = await selectDigest(connection, { repositoryId, name })
  return row?.digest
}

/** What those of the tags that are there stand for now. */
export async function findTags(
  connection: Connection,
  repositoryId: RepositoryId,
  names: readonly string[],
): Promise<Map<string, Digest>> {
  const found = new Map<string, Digest>()
  for (const part of partsOf(names)) {
    const rows = await connection
      .withTables<TagTables>()
      .selectFrom('tags')
      .select(['name', 'digest'])
      .where('repository_id', '=', repositoryId)
      .where('name', 'in', part)
      .execute()
    for (const row of rows) found.set(row.name, row.digest)
  }
  return found
}

/** Lets tags stand for a manifest, whatever they stood for before. */
export async function putTags(
  transaction: Transaction,
  repositoryId: RepositoryId,
  names: readonly string[],
  digest: Digest,
): Promise<void> {
  if (names.length === 0) return
  const updatedAt = Date.now()
  await transaction
    .withTables<TagTables>()
    .insertInto('tags')
    .values(names.map((name) => ({ repository_id: repositoryId, name, digest, updated_at: updatedAt })))
    .onConflict((conflict) =>
      conflict.columns(['repository_id', 'name']).doUpdateSet({ digest, updated_at: updatedAt }),
    )
    .execute()
}

/** @returns whether there was such a tag. */
export async function deleteTagRow(
  transaction: Transaction,
  repositoryId: RepositoryId,
  name: string,
): Promise<boolean> {
  const result = await transaction
    .withTables<TagTables>()
    .deleteFrom('tags')
    .where('repository_id', '=', repositoryId)
    .where('name', '=', name)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** The tags that stand for a manifest. */
export async function findTagsOf(
  connection: Connection,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<string[]> {
  const rows = await connection
    .withTables<TagTables>()
    .selectFrom('tags')
    .select('name')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .execute()
  return rows.map((row) => row.name)
}

const selectNames = prepareQuery<{ repository: string; after: string; limit: number }, JoinedNames>(
  ['repository', 'after', 'limit'],
  (connection, { repository, after, limit }) =>
    joinNames(
      connection,
      connection
        .withTables<TagTables>()
        .selectFrom('tags')
        .select('name')
        .where('repository_id', '=', queryRepositoryId(connection, repository))
        .where('name', '>', after)
        .orderBy('name')
        .limit(limit),
    ),
)

/** Up to `limit` tags of a repository after `after`, in the order of their bytes; none, too, of one that is not there. */
export async function listTagNames(
  connection: Connection,
  repository: string,
  after: string,
  limit: number,
): Promise<string[]> {
  return splitNames(await selectNames(connection, { repository, after, limit }))
}
