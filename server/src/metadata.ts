import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Instance, joinInstances } from '#core/instances'
import {
  type Database,
  firstFilledTable,
  isNewDatabase,
  isUnused,
  lockFolder,
  migrate,
  openPostgres,
  openSqlite,
  shareFolder,
  type TableSize,
} from '#platform/database'
import { makeDurableFolder } from '#platform/disk'
import type { Logger } from '#platform/log'
import type { Config } from './config/index.ts'
import { MIGRATIONS } from './migrations.ts'
import { postgresOptions } from './settings.ts'

/** Where SQLite keeps the metadata of a data folder. */
export const databaseIn = (folder: string) => join(folder, 'entrepot.db')

/** What is known of a data folder that a command looks at, and must not make. @throws Error when it is not there. */
export async function requireDataFolder(folder: string): Promise<Stats> {
  return stat(folder).catch((error: unknown) => {
    throw new Error(`there is no data folder ${folder}: name the configuration that the server runs with`, {
      cause: error,
    })
  })
}

/**
 * Opens the database that the configuration names, and brings its schema up to date. Beginning anew beside old blobs is
 * refused: it would hide from the operator that the database was lost.
 * @param store.place where its content is, for messages.
 * @param store.isEmpty whether the store has no content.
 * @throws what the database throws when it cannot be used.
 */
export async function openMetadata(
  config: Config,
  store: { readonly folder: string; readonly place: string; isEmpty(): Promise<boolean> },
  log: Logger,
): Promise<Database> {
  const { folder, place } = store
  const postgres = postgresOptions(config)
  // Opening the file would create it.
  if (postgres === undefined && isNewDatabase(databaseIn(folder)) && !(await store.isEmpty())) {
    throw databaseMissing(place, `their database ${databaseIn(folder)}`, 'entrepot.db')
  }
  const database = postgres === undefined ? openSqlite(databaseIn(folder)) : await openPostgres(postgres, log)
  try {
    if (postgres !== undefined && (await isUnused(database.read)) && !(await store.isEmpty())) {
      throw databaseMissing(place, 'the database that "database.url" names', 'the database')
    }
    await migrate(database, MIGRATIONS)
  } catch (error) {
    // What is connected would keep the process from ending.
    await database.close()
    throw error
  }
  return database
}

/**
 * Takes the configured data folder, which is made if need be: for this process alone, or, where PostgreSQL keeps them
 * apart, together with others.
 * @returns the folder as an absolute path.
 * @throws FolderInUseError
 */
export async function takeFolder(config: Config): Promise<{ folder: string; isShared: boolean }> {
  const folder = resolve(config.storage.filesystem.rootdirectory)
  const isShared = postgresOptions(config) !== undefined
  await makeDurableFolder(folder)
  if (isShared) shareFolder(folder)
  else lockFolder(folder)
  return { folder, isShared }
}

/**
 * Joins those that work on the database, which is closed when that cannot be.
 * @throws when somebody has it alone.
 */
export async function joinOthers(database: Database, log: Logger): Promise<Instance> {
  try {
    return await joinInstances(database, log)
  } catch (error) {
    // What is connected would keep the process from ending.
    await database.close()
    throw error
  }
}

/** Whether the database that the configuration names was never used. */
export async function isWithoutMetadata(config: Config, folder: string, log: Logger): Promise<boolean> {
  const postgres = postgresOptions(config)
  if (postgres === undefined) return isNewDatabase(databaseIn(folder))
  const database = await openPostgres(postgres, log)
  try {
    return await isUnused(database.read)
  } finally {
    await database.close()
  }
}

/**
 * Refuses a database that has metadata. Tables that are there and empty may be left of a move that was cut off.
 * @throws Error
 */
export async function refuseFilled(target: Database, tables: readonly TableSize[]): Promise<void> {
  const filled = await firstFilledTable(
    target.read,
    tables.map(({ table }) => table),
  )
  if (filled === undefined) return
  throw new Error(
    `the database that "database.url" names has metadata already (in its table "${filled}"): name an empty one`,
  )
}

function databaseMissing(place: string, database: string, backup: string): Error {
  return new Error(
    `${place} has blobs, but ${database} is missing or empty: ` +
      `put the backup of ${backup} in place, or move the blobs away to begin anew`,
  )
}
