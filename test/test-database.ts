import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The server on which each registry gets a database of its own; without it they keep metadata in SQLite. */
const SERVER = process.env['ENTREPOT_TEST_DATABASE'] ?? ''

/** Whether registries keep their metadata in PostgreSQL. */
export const isOnPostgres = SERVER !== ''

/** The database that belongs to each data folder. */
const DATABASES = new Map<string, string>()

/**
 * The database of the registry in a data folder, on the server that `test/on-postgres.ts` started. It is created for the
 * first one that works there, and goes when its test ends.
 * @returns its URL; undefined when the tests run on SQLite.
 */
export async function testDatabase(t: TestContext, folder: string): Promise<string | undefined> {
  const known = DATABASES.get(folder)
  if (SERVER === '' || known !== undefined) return known
  const name = `test_${randomBytes(8).toString('hex')}`
  await runSql(`create database ${name}`)
  t.after(async () => runSql(`drop database ${name} with (force)`))
  const { href } = new URL(name, SERVER)
  DATABASES.set(folder, href)
  return href
}

async function runSql(sql: string): Promise<void> {
  await run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql, SERVER])
}
