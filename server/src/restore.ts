import { copyFile, mkdir, open, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { targetOf } from '#core/blobs'
import { INSTANCES_TABLE, joinInstances } from '#core/instances'
import type { Inventory } from '#core/inventory'
import { InventoryKeeper } from '#formats/oci'
import {
  appliedMigrations,
  borrowFolder,
  copyTables,
  type DatabaseInspection,
  inspectSqlite,
  isNewDatabase,
  migrate,
  openPostgres,
  openSqlite,
  type PostgresOptions,
  requireKnown,
  type TableSize,
  tablesOf,
} from '#platform/database'
import { syncFolder } from '#platform/disk'
import { createCommandLogger, type Logger } from '#platform/log'
import {
  BackupCounts,
  type BackupLocation,
  type BackupMark,
  contentsIn,
  copyContents,
  type Listener,
  listMarks,
  openBackupPlace,
  openSoundMetadata,
  Report,
} from '#transfer'
import type { Config } from './config/index.ts'
import { openContentStore } from './content-store.ts'
import { databaseIn, refuseFilled } from './metadata.ts'
import { MIGRATIONS } from './migrations.ts'
import { postgresOptions } from './settings.ts'

export type { BackupCounts, BackupLocation, BackupMark } from '#transfer'

/** The backups in a place, the newest first. @throws when there is none. */
export async function listBackups(location: BackupLocation): Promise<BackupMark[]> {
  return listMarks(await openBackupPlace(location))
}

/**
 * Brings a backup into an installation without metadata: content first, each compared with its digest, the metadata last,
 * so that there is no registry before everything is there. Cut off, it can be done again.
 * @param options.id undefined takes the newest backup.
 * @returns the backup that was taken.
 * @throws when there is no such backup, when a newer version made it, and when there is metadata already.
 */
export async function restore(
  config: Config,
  options: { readonly source: BackupLocation; readonly id: string | undefined },
  tell: Listener<BackupCounts>,
): Promise<BackupMark> {
  process.umask(0o077)
  const place = await openBackupPlace(options.source)
  const mark = chooseBackup(await listMarks(place), options.id)
  const data = resolve(config.storage.filesystem.rootdirectory)
  await mkdir(data, { recursive: true, mode: 0o700 })
  const metadata = await openSoundMetadata(place, mark)
  const giveBack = borrowFolder(data)
  try {
    const { file } = metadata
    const log = await createCommandLogger()
    await requireEmpty(config, { file, data, log })
    const { store, inventory } = await openContentStore(config, data, () => {})
    const report = new Report(new BackupCounts(), tell)
    await report.during(async () => {
      await copyContents(contentsIn(file), { from: place.contents, to: targetOf(store) }, report)
      await placeMetadata(config, { file, data, log }, inventory)
    })
    return mark
  } finally {
    giveBack()
    await metadata.close()
  }
}

/** A backup's metadata, and where it goes. */
interface Restored {
  /** The file of the backup. */
  readonly file: string
  /** The data folder. */
  readonly data: string
  readonly log: Logger
}

function chooseBackup(marks: readonly BackupMark[], id: string | undefined): BackupMark {
  const mark = id === undefined ? marks[0] : marks.find((mark) => mark.id === id)
  if (mark !== undefined) return mark
  throw new Error(`there is no backup "${id ?? ''}": there is ${marks.map((mark) => mark.id).join(', ')}`)
}

/** @throws when a newer version made the backup, and when there is a registry already. */
async function requireEmpty(config: Config, { file, data, log }: Restored): Promise<void> {
  const source = inspectSqlite(file, true)
  try {
    requireKnown(await appliedMigrations(source.read), MIGRATIONS)
    const options = postgresOptions(config)
    if (options === undefined) {
      if (!isNewDatabase(databaseIn(data)))
        throw new Error(`there is a registry in ${data}: restore into an empty folder`)
      return
    }
    const target = await openPostgres(options, log)
    try {
      await refuseFilled(target, await tablesToCopy(source))
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

/** What is true only for those that worked on the database that was backed up stays behind. */
async function tablesToCopy({ read }: DatabaseInspection): Promise<TableSize[]> {
  return (await tablesOf(read)).filter(({ table }) => table !== INSTANCES_TABLE)
}

/** Makes what was backed up the metadata that the configuration names, after all else, such as the inventory in a bucket. */
async function placeMetadata(
  config: Config,
  { file, data, log }: Restored,
  inventory: Inventory | undefined,
): Promise<void> {
  const copy = join(data, 'entrepot.db.restored')
  for (const ending of ['', '-wal', '-shm']) await rm(copy + ending, { force: true })
  await copyFile(file, copy)
  // A version that came after the backup changes the schema once.
  const upgraded = openSqlite(copy)
  try {
    await migrate(upgraded, MIGRATIONS)
    if (inventory !== undefined) await new InventoryKeeper({ read: upgraded.read, inventory, log }).sweep(() => false)
  } finally {
    await upgraded.close()
  }
  const options = postgresOptions(config)
  if (options === undefined) {
    await placeFile(copy, data)
    return
  }
  await fillDatabase(copy, options, log)
  await rm(copy)
}

/** Gives a copy its place, whole and durable, or not at all. */
async function placeFile(copy: string, data: string): Promise<void> {
  const file = await open(copy, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
  const target = databaseIn(data)
  // What an empty database has left beside it would be taken for a part of this one.
  for (const ending of ['-wal', '-shm']) await rm(target + ending, { force: true })
  await rename(copy, target)
  await syncFolder(data)
}

/**
 * Copies metadata out of an SQLite file into an empty PostgreSQL database, in one transaction; nobody else works on it
 * meanwhile.
 * @throws when others work on it, and when there is metadata in it.
 */
async function fillDatabase(file: string, options: PostgresOptions, log: Logger): Promise<void> {
  const source = inspectSqlite(file, true)
  const target = await openPostgres(options, log)
  try {
    await migrate(target, MIGRATIONS)
    const instance = await joinInstances(target, log, true)
    try {
      const tables = await tablesToCopy(source)
      await refuseFilled(target, tables)
      await target.transaction(async (transaction) => copyTables(source.read, transaction, tables, () => {}))
    } finally {
      await instance.leave()
    }
  } finally {
    await target.close()
    await source.close()
  }
}
