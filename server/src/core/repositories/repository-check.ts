import { parseRepositoryName, RegistryError } from '@entrepot/oci'
import { type Checked, type Finding, finding } from '#core/findings'
import { type Connection, pagesOf } from '#platform/database'
import { listRepositoryRows, type RepositoryRow } from './repository-rows.ts'

const PAGE_SIZE = 500

/** Looks at the row of every repository. */
export async function* checkRepositoryRows(connection: Connection, checked: Checked): AsyncGenerator<Finding> {
  for await (const page of pagesOf(async (after) => listRepositoryRows(connection, after, PAGE_SIZE))) {
    for (const row of page) if (!isValid(row)) yield invalidRow(row)
    checked.repositories += page.length
  }
}

function isValid({ name, createdAt, isPublicationValid }: RepositoryRow): boolean {
  if (name === null || createdAt === null || createdAt < 0 || !isPublicationValid) return false
  try {
    return parseRepositoryName(name) === name
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

function invalidRow({ rowid, name }: RepositoryRow): Finding {
  return finding(
    'row-invalid',
    `the row ${rowid} of repositories has a value that no version writes: restore a backup of the database`,
    { repository: name },
  )
}
