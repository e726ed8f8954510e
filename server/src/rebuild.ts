import { mkdir, rename, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { findObject, S3Inspector } from '#core/blobs'
import type { Finding } from '#core/findings'
import { S3Inventory } from '#core/inventory'
import { MetadataRebuild, type RebuildCounts } from '#formats/oci'
import { borrowFolder, type Database, migrate, openPostgres, openSqlite } from '#platform/database'
import { syncFolder } from '#platform/disk'
import { createCommandLogger } from '#platform/log'
import { Bucket, type S3Options } from '#platform/s3'
import type { Config } from './config/index.ts'
import { databaseIn, isWithoutMetadata } from './metadata.ts'
import { MIGRATIONS } from './migrations.ts'
import { manifestPolicy, postgresOptions, s3Options } from './settings.ts'

/** A rebuild under way: the counts grow while what could not be made again comes. */
export interface Rebuild {
  readonly counts: Readonly<RebuildCounts>
  readonly findings: AsyncIterable<Finding>
}

/**
 * Makes the metadata anew out of what a bucket says of itself. With SQLite the database is in its place only when all of
 * it is made.
 * @throws when content is in a folder, which says nothing of repositories, when there is metadata already, or when
 * somebody works there.
 */
export async function rebuildMetadata(config: Config): Promise<Rebuild> {
  process.umask(0o077)
  const s3 = s3Options(config)
  if (s3 === undefined) {
    throw new Error('only a bucket says which repositories there are, and "storage.s3" names none: restore a backup')
  }
  const data = resolve(config.storage.filesystem.rootdirectory)
  await mkdir(data, { recursive: true, mode: 0o700 })
  const giveBack = borrowFolder(data)
  try {
    const log = await createCommandLogger()
    if (!(await isWithoutMetadata(config, data, log))) {
      throw new Error('there is metadata already: move the database away first, if it is lost')
    }
    const bucket = await openBucket(s3)
    const postgres = postgresOptions(config)
    const temporary = `${databaseIn(data)}.rebuilt`
    await removeDatabase(temporary)
    const database = postgres === undefined ? openSqlite(temporary) : await openPostgres(postgres, log)
    const rebuild = createRebuild(config, { database, bucket })
    const end = async () => {
      if (postgres !== undefined) return
      await removeDatabase(databaseIn(data))
      await rename(temporary, databaseIn(data))
      await syncFolder(data)
    }
    return { counts: rebuild.counts, findings: during(database, rebuild, { end, giveBack }) }
  } catch (error) {
    giveBack()
    throw error
  }
}

async function* during(
  database: Database,
  rebuild: MetadataRebuild,
  { end, giveBack }: { end: () => Promise<void>; giveBack: () => void },
): AsyncGenerator<Finding> {
  try {
    try {
      await migrate(database, MIGRATIONS)
      yield* rebuild.run()
    } finally {
      await database.close()
    }
    await end()
  } finally {
    giveBack()
  }
}

async function openBucket(options: S3Options): Promise<Bucket> {
  const bucket = await Bucket.open(options)
  await bucket.verify()
  return bucket
}

function createRebuild(config: Config, { database, bucket }: { database: Database; bucket: Bucket }): MetadataRebuild {
  const inspector = new S3Inspector(bucket, { bytesPerSecond: undefined, onHashed: () => {} })
  const inventory = new S3Inventory(bucket)
  return new MetadataRebuild({
    database,
    source: {
      read: async (digest, maxBytes) => inspector.read(digest, maxBytes),
      size: async (digest) => (await findObject(bucket, digest))?.sizeBytes,
      entries: () => inventory.entries(),
    },
    policy: manifestPolicy(config),
  })
}

/** Removes a file of SQLite with what an open one has beside it. */
async function removeDatabase(file: string): Promise<void> {
  for (const ending of ['', '-wal', '-shm']) await rm(file + ending, { force: true })
}
