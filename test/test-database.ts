import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { run } from './clients/programs.ts'

/** The server on which each registry gets a database of its own; without it they keep metadata in SQLite. */
const SERVER = process.env['ENTREPOT_TEST_DATABASE'] ?? ''

/** Whether registries keep their metadata in PostgreSQL. */
export const isOnPostgres = SERVER !== ''

/** The database that belongs to each data folder. */
const DATABASES = new Map<string, string>()

/**
 * The database of the registry in a data folder, on the server that `test/on-stand.ts` started. It is created for the
 * first one that works there, and goes when its test ends.
 * @returns its URL; undefined when the tests run on SQLite.
 */
export async function testDatabase(t: TestContext, folder: string): Promise<string | undefined> {
  const known = DATABASES.get(folder)
  if (SERVER === '' || known !== undefined) return known
  const name = `test_${randomBytes(8).toString('hex')}`
  await runSql(SERVER, `create database ${name}`)
  t.after(async () => runSql(SERVER, `drop database ${name} with (force)`))
  const { href } = new URL(name, SERVER)
  DATABASES.set(folder, href)
  return href
}

/** The URL of the database of the registry in a data folder; undefined when it keeps its metadata there. */
export function knownDatabase(folder: string): string | undefined {
  return DATABASES.get(folder)
}

/** Runs SQL in the database of a URL, and gives what `psql` prints. */
export async function runSql(url: string, sql: string): Promise<string> {
  return (await run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql, url])).trim()
}
