import { rename } from 'node:fs/promises'
import { resolve } from 'node:path'
import {
  appliedMigrations,
  copyTables,
  inspectSqlite,
  isNewDatabase,
  lockFolder,
  migrate,
  openPostgres,
  type TableSize,
  tablesOf,
} from '#platform/database'
import { ignoreAbsent, syncFolder } from '#platform/disk'
import { createCommandLogger } from '#platform/log'
import type { Config } from './config/index.ts'
import { databaseIn, refuseFilled, requireDataFolder } from './metadata.ts'
import { MIGRATIONS } from './migrations.ts'
import { postgresOptions } from './settings.ts'

export type { TableSize } from '#platform/database'

/** What SQLite has beside its file, and the name that all of it gets when it is not the truth any more. */
const SQLITE_FILES = ['', '-wal', '-shm']
const MOVED = '.moved-to-postgres'

/** A move under way. */
export interface MetadataMove {
  /** What there is to move. */
  readonly tables: readonly TableSize[]
  /**
   * Moves it, in one transaction, and puts the file aside; after a failure everything is as it was.
   * @param onRows is told how many rows more were moved.
   * @returns where the file is now.
   */
  move(onRows: (rows: number) => void): Promise<string>
  close(): Promise<void>
}

/**
 * Prepares to move the metadata of a data folder, in which no server works, from SQLite to the PostgreSQL that
 * `database.url` names. Both are looked at and nothing is changed; the folder is locked until this process ends.
 * @throws when there is nothing to move, it is of another version, or the database is in use already.
 */
export async function prepareMetadataMove(config: Config): Promise<MetadataMove> {
  process.umask(0o077)
  const folder = resolve(config.storage.filesystem.rootdirectory)
  const file = databaseIn(folder)
  const options = postgresOptions(config)
  if (options === undefined) {
    throw new Error('"database.url" (REGISTRY_DATABASE_URL) is not set: it says where the metadata are to go')
  }
  await requireDataFolder(folder)
  lockFolder(folder)
  if (isNewDatabase(file)) throw new Error(`there are no metadata in ${file}: nothing is to be moved`)
  const source = inspectSqlite(file, true)
  try {
    const applied = await appliedMigrations(source.read)
    const known = MIGRATIONS.map(({ name }) => name)
    if (applied.toSorted().join() !== known.toSorted().join()) {
      throw new Error(
        `${file} was last used by another version: start this one once without "database.url", end it, and try again`,
      )
    }
    const tables = await tablesOf(source.read)
    const log = await createCommandLogger()
    const target = await openPostgres(options, log)
    const close = async () => {
      await target.close()
      await source.close()
    }
    await refuseFilled(target, tables).catch(async (error: unknown) => {
      await target.close()
      throw error
    })
    return {
      tables,
      close,
      move: async (onRows) => {
        await migrate(target, MIGRATIONS)
        await target.transaction(async (transaction) => copyTables(source.read, transaction, tables, onRows))
        return putAside(folder, file)
      },
    }
  } catch (error) {
    await source.close()
    throw error
  }
}

/** Whoever starts without `database.url` by mistake must not begin to work on what is old. */
async function putAside(folder: string, file: string): Promise<string> {
  for (const suffix of SQLITE_FILES) {
    await rename(file + suffix, file + MOVED + suffix).catch(ignoreAbsent)
  }
  await syncFolder(folder)
  return file + MOVED
}
