import { copyFile, mkdir, open, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { appliedMigrations, borrowFolder, inspectSqlite, SchemaTooNewError } from '#platform/database'
import { syncFolder } from '#platform/disk'
import { createCommandLogger } from '#platform/log'
import { BackupCounts, BackupFolder, type BackupMark, contentsIn, copyContents, type Listener, Report } from '#transfer'
import type { Config } from './config/index.ts'
import { openContentStore } from './content-store.ts'
import { databaseIn, isWithoutMetadata, openMetadata } from './metadata.ts'
import { MIGRATIONS } from './migrations.ts'
import { postgresOptions } from './settings.ts'

export type { BackupCounts, BackupMark } from '#transfer'

/** The backups in a folder, the newest first. @throws when there is none. */
export async function listBackups(path: string): Promise<BackupMark[]> {
  return (await BackupFolder.open(resolve(path))).list()
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
  options: { readonly source: string; readonly id: string | undefined },
  tell: Listener<BackupCounts>,
): Promise<BackupMark> {
  process.umask(0o077)
  if (postgresOptions(config) !== undefined) {
    throw new Error('metadata in PostgreSQL is restored with its own tools, such as pg_restore')
  }
  const folder = await BackupFolder.open(resolve(options.source))
  const mark = await chooseBackup(folder, options.id)
  const file = folder.database(mark.id)
  await requireKnownSchema(file)
  const data = resolve(config.storage.filesystem.rootdirectory)
  await mkdir(data, { recursive: true, mode: 0o700 })
  const giveBack = borrowFolder(data)
  try {
    const log = await createCommandLogger()
    if (!(await isWithoutMetadata(config, data, log))) {
      throw new Error(`there is a registry in ${data}: restore into an empty folder`)
    }
    const { store, place } = await openContentStore(config, data, () => {})
    const report = new Report(new BackupCounts(), tell)
    await report.during(async () => {
      await copyContents(
        contentsIn(file, () => {}),
        { from: folder.store, to: store },
        report,
      )
      await placeDatabase(file, data)
      // A version that came after the backup changes the schema once.
      const isEmpty = async () => store.isEmpty()
      await (await openMetadata(config, { folder: data, place, isEmpty }, log)).close()
    })
    return mark
  } finally {
    giveBack()
  }
}

async function chooseBackup(folder: BackupFolder, id: string | undefined): Promise<BackupMark> {
  const marks = await folder.list()
  const mark = id === undefined ? marks[0] : marks.find((mark) => mark.id === id)
  if (mark !== undefined) return mark
  throw new Error(`there is no backup "${id ?? ''}": there is ${marks.map((mark) => mark.id).join(', ')}`)
}

/** @throws SchemaTooNewError */
async function requireKnownSchema(file: string): Promise<void> {
  const database = inspectSqlite(file, true)
  try {
    const known = new Set(MIGRATIONS.map(({ name }) => name))
    for (const name of await appliedMigrations(database.read)) if (!known.has(name)) throw new SchemaTooNewError(name)
  } finally {
    await database.close()
  }
}

/** Puts the metadata in its place, whole and durable, or not at all. */
async function placeDatabase(source: string, data: string): Promise<void> {
  const temporary = join(data, 'entrepot.db.restored')
  await copyFile(source, temporary)
  const file = await open(temporary, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
  const target = databaseIn(data)
  // What an empty database has left beside it would be taken for a part of this one.
  for (const ending of ['-wal', '-shm']) await rm(target + ending, { force: true })
  await rename(temporary, target)
  await syncFolder(data)
}
