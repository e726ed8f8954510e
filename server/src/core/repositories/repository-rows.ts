import type { Generated, RawBuilder } from 'kysely'
import {
  checkedValues,
  type Connection,
  type JoinedNames,
  joinNames,
  prepareQuery,
  splitNames,
  type Transaction,
} from '#platform/database'

/** What rows refer to; names may be given anew, ids never are. */
export type RepositoryId = number

type RepositoryTables = {
  repositories: {
    id: Generated<RepositoryId>
    name: string
    created_at: number
    /** When its first manifest or package was published; until then the repository is not listed. */
    published_at: number | null
  }
}

/** Finds the id of the repository of a name, within another query: that spares a round trip. */
export function queryRepositoryId(connection: Connection, name: RawBuilder<string>) {
  return connection.withTables<RepositoryTables>().selectFrom('repositories').select('id').where('name', '=', name)
}

const selectId = prepareQuery<{ name: string }, { id: RepositoryId }>(['name'], (connection, { name }) =>
  queryRepositoryId(connection, name),
)

export async function findRepositoryId(connection: Connection, name: string): Promise<RepositoryId | undefined> {
  const [row] = await selectId(connection, { name })
  return row?.id
}

/** The id of the repository of that name, which is created if there is none. */
export async function ensureRepository(transaction: Transaction, name: string): Promise<RepositoryId> {
  const known = await findRepositoryId(transaction, name)
  if (known !== undefined) return known
  const created = await transaction
    .withTables<RepositoryTables>()
    .insertInto('repositories')
    .values({ name, created_at: Date.now(), published_at: null })
    .returning('id')
    .executeTakeFirstOrThrow()
  return created.id
}

/** Makes the repository appear in lists. */
export async function publishRepository(transaction: Transaction, id: RepositoryId): Promise<void> {
  await transaction
    .withTables<RepositoryTables>()
    .updateTable('repositories')
    .set({ published_at: Date.now() })
    .where('id', '=', id)
    .where('published_at', 'is', null)
    .execute()
}

const selectNames = prepareQuery<{ after: string; limit: number }, JoinedNames>(
  ['after', 'limit'],
  (connection, { after, limit }) =>
    joinNames(
      connection,
      connection
        .withTables<RepositoryTables>()
        .selectFrom('repositories')
        .select('name')
        .where('name', '>', after)
        .where('published_at', 'is not', null)
        .orderBy('name')
        .limit(limit),
    ),
)

/** Up to `limit` names of published repositories after `after`, in the order of their bytes. */
export async function listRepositoryNames(connection: Connection, after: string, limit: number): Promise<string[]> {
  return splitNames(await selectNames(connection, { after, limit }))
}

export async function findRepositoryName(connection: Connection, id: RepositoryId): Promise<string | undefined> {
  const row = await connection
    .withTables<RepositoryTables>()
    .selectFrom('repositories')
    .select('name')
    .where('id', '=', id)
    .executeTakeFirst()
  return row?.name
}

/** A row as it is found: null stands for a value of the wrong type. */
export interface RepositoryRow {
  /** Its id. */
  readonly rowid: RepositoryId
  readonly name: string | null
  readonly createdAt: number | null
  /** Whether the time of its publication is absent or a time. */
  readonly isPublicationValid: boolean
}

/** Up to `limit` rows after one, for a check. */
export async function listRepositoryRows(
  connection: Connection,
  after: RepositoryId,
  limit: number,
): Promise<RepositoryRow[]> {
  const { text, whole, isWholeOrNull } = checkedValues(connection)
  const rows = await connection
    .withTables<RepositoryTables>()
    .selectFrom('repositories')
    .select([
      'id as rowid',
      text('name').as('name'),
      whole('created_at').as('createdAt'),
      isWholeOrNull('published_at').as('isPublicationValid'),
    ])
    .where('id', '>', after)
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map((row) => ({ ...row, isPublicationValid: row.isPublicationValid === 1 }))
}

/** Whether a repository appears in lists. */
export async function isPublished(connection: Connection, id: RepositoryId): Promise<boolean> {
  const row = await connection
    .withTables<RepositoryTables>()
    .selectFrom('repositories')
    .select('id')
    .where('id', '=', id)
    .where('published_at', 'is not', null)
    .executeTakeFirst()
  return row !== undefined
}
