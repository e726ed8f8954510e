import { relative } from 'node:path'
import type { Digest } from '@entrepot/oci'
import { type BlobStore, copyContent, type GarbageHold, holdGarbage, listContents } from '#core/blobs'
import { type Database, inspectSqlite, type Migration } from '#platform/database'
import { BackupFolder } from './backup-folder.ts'
import { type Listener, Report } from './events.ts'
import { inLanes } from './lanes.ts'

/** Contents that are copied at once: each waits for the disk. */
const LANES = 16
const PAGE_SIZE = 500

/** How much a backup has done, or a restore. */
export class BackupCounts {
  /** Contents that the backup names. */
  contents = 0
  copied = 0
  /** Contents that were there before. */
  present = 0
  /** Bytes of what was copied. */
  bytes = 0
  /** Contents that are missing or damaged, each of which was told of. */
  skipped = 0
}

export interface BackupOptions {
  /** The folder of backups, as an absolute path. */
  readonly target: string
  /** How many backups stay; undefined for all. */
  readonly keep: number | undefined
}

/** What a backup is made of. */
export interface BackupSource {
  readonly folder: string
  readonly database: Database
  readonly store: BlobStore
  /** The database for what makes room: a backup can be made of a full disk. */
  readonly deletions: Database
  /** What makes the schema of the database. */
  readonly migrations: readonly Migration[]
}

/**
 * Copies metadata as it is at one moment, and all content that it names and the folder does not have yet, while everything
 * goes on; the collector removes no content meanwhile. Only when all of it is on the disk is it a backup.
 * @throws when the folder cannot be written to, and when the work is aborted.
 */
export async function createBackup(
  source: BackupSource,
  options: BackupOptions & { readonly signal: AbortSignal },
  tell: Listener<BackupCounts>,
): Promise<void> {
  if (!relative(source.folder, options.target).startsWith('..')) {
    throw new Error(`${options.target} is in the data folder: name a folder elsewhere, better on another disk`)
  }
  const folder = await BackupFolder.create(options.target)
  const report = new Report(new BackupCounts(), tell)
  await folder.alone(async () => {
    await report.during(async () => {
      // From before the metadata is copied until its content is, too.
      const hold = await holdGarbage(source.deletions)
      try {
        await copyAll(source, folder, { report, hold, signal: AbortSignal.any([options.signal, hold.signal]) })
      } finally {
        await hold.release()
      }
      if (options.keep !== undefined) await folder.keepNewest(options.keep)
    })
  })
}

async function copyAll(
  source: BackupSource,
  folder: BackupFolder,
  { report, hold, signal }: { report: Report<BackupCounts>; hold: GarbageHold; signal: AbortSignal },
): Promise<void> {
  const createdAt = new Date().toISOString()
  const id = createdAt.replaceAll(':', '-')
  const file = await folder.begin(id)
  await source.database.copyTo(file, source.migrations)
  const { counts } = report
  const total = { bytes: 0 }
  const contents = contentsIn(file, ({ sizeBytes }) => {
    signal.throwIfAborted()
    total.bytes += sizeBytes
  })
  await copyContents(contents, { from: source.store, to: folder.store }, report)
  await hold.confirm()
  const { contents: named, skipped: missing } = counts
  await folder.finish({ id, createdAt, contents: named, bytes: total.bytes, missing })
}

interface Content {
  readonly digest: Digest
  readonly sizeBytes: number
}

/** All contents that a copy of the metadata names. @param onContent is called with each. */
export async function* contentsIn(file: string, onContent: (content: Content) => void): AsyncGenerator<Content> {
  const database = inspectSqlite(file, true)
  try {
    let after: Digest | undefined
    for (;;) {
      const page = await listContents(database.read, after, PAGE_SIZE)
      for (const content of page) {
        onContent(content)
        yield content
      }
      after = page.at(-1)?.digest
      if (page.length < PAGE_SIZE) return
    }
  } finally {
    await database.close()
  }
}

/** Copies contents that the target lacks; those that the source lacks are told. */
export async function copyContents(
  contents: AsyncIterable<Content>,
  { from, to }: { from: BlobStore; to: BlobStore },
  report: Report<BackupCounts>,
): Promise<void> {
  const { counts } = report
  await inLanes(contents, LANES, async (content) => {
    const { digest, sizeBytes } = content
    counts.contents++
    const outcome = await copyContent(from, to, content)
    if (outcome === 'copied') {
      counts.copied++
      counts.bytes += sizeBytes
    } else if (outcome === 'present') counts.present++
    else {
      const reason = outcome === 'absent' ? 'content-missing' : 'content-damaged'
      const message = `the content of ${sizeBytes} bytes is ${outcome === 'absent' ? 'missing' : 'damaged'}: push it again`
      await report.skip({ reason, digest, message })
    }
  })
}
