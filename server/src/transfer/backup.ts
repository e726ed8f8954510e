import { relative } from 'node:path'
import type { Digest } from '@entrepot/oci'
import {
  type BlobStore,
  type Content,
  type ContentSource,
  type ContentTarget,
  copyContent,
  type GarbageHold,
  holdGarbage,
  listContents,
} from '#core/blobs'
import { type Database, inspectSqlite, type Migration } from '#platform/database'
import { type BackupLocation, createBackupPlace, isBucket } from './backup-location.ts'
import { type BackupPlace, type BegunBackup, digestOfFile } from './backup-place.ts'
import { keepNewest } from './backup-retention.ts'
import { type Listener, Report } from './events.ts'
import { inLanes } from './lanes.ts'

/** Contents that are copied at once: each waits for a disk, or for a network. */
const LANES = 16
const PAGE_SIZE = 500

/** How much a backup has done, or a restore. */
export class BackupCounts {
  /** Contents that the backup names, with their bytes. */
  contents = 0
  namedBytes = 0
  copied = 0
  /** Contents that were there before. */
  present = 0
  /** Bytes of what was copied. */
  bytes = 0
  /** Contents that are missing or damaged, each of which was told of. */
  skipped = 0
}

export interface BackupOptions extends BackupLocation {
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
 * Copies metadata as it is at one moment, and all content that it names and the target does not have yet, while everything
 * goes on; collectors remove no content meanwhile. Only when all of it is there, durably, is it a backup.
 * @throws when the target cannot be written to, and when the work is aborted.
 */
export async function createBackup(
  source: BackupSource,
  options: BackupOptions & { readonly signal: AbortSignal },
  tell: Listener<BackupCounts>,
): Promise<void> {
  if (!isBucket(options) && !relative(source.folder, options.target).startsWith('..')) {
    throw new Error(`${options.target} is in the data folder: name a folder elsewhere, better on another disk`)
  }
  const place = await createBackupPlace(options)
  const report = new Report(new BackupCounts(), tell)
  await place.alone(async (confirm) => {
    await report.during(async () => {
      // From before the metadata is copied until its content is, too.
      const hold = await holdGarbage(source.deletions)
      try {
        const signal = AbortSignal.any([options.signal, hold.signal])
        await copyAll(source, place, { report, hold, signal, confirm })
      } finally {
        await hold.release()
      }
      if (options.keep !== undefined) await keepNewest(place, options.keep, confirm)
    })
  })
}

/** What a backup reports to, and what it depends on. */
interface Circumstances {
  readonly report: Report<BackupCounts>
  readonly hold: GarbageHold
  readonly signal: AbortSignal
  /** Throws when others may be writing to the target. */
  readonly confirm: () => void
}

async function copyAll(source: BackupSource, place: BackupPlace, circumstances: Circumstances): Promise<void> {
  const createdAt = new Date().toISOString()
  const id = createdAt.replaceAll(':', '-')
  const begun = await place.begin(id)
  try {
    await fill(source, place, { ...circumstances, begun, id, createdAt })
  } finally {
    await begun.end()
  }
}

async function fill(
  source: BackupSource,
  place: BackupPlace,
  work: Circumstances & { readonly begun: BegunBackup; readonly id: string; readonly createdAt: string },
): Promise<void> {
  const { report, hold, signal, confirm, begun, id, createdAt } = work
  await source.database.copyTo(begun.file, source.migrations)
  const skipped = await copyContents(contentsIn(begun.file), { from: source.store, to: place.contents, signal }, report)
  // A store may have said so of what it does not have.
  for await (const { digest } of missingIn(contentsIn(begun.file), place.contents)) {
    signal.throwIfAborted()
    if (!skipped.has(digest)) throw new Error(`${digest} was written to ${place.name}, and is not there: do it again`)
  }
  await hold.confirm()
  confirm()
  const { contents, namedBytes: bytes } = report.counts
  const metadata = await digestOfFile(begun.file)
  await begun.finish({ id, createdAt, contents, bytes, missing: skipped.size, metadata })
}

/** All contents that a copy of the metadata names, in pages. */
export async function* contentsIn(file: string): AsyncGenerator<readonly Content[]> {
  const database = inspectSqlite(file, true)
  try {
    let after: Digest | undefined
    for (;;) {
      const page = await listContents(database.read, after, PAGE_SIZE)
      if (page.length > 0) yield page
      after = page.at(-1)?.digest
      if (page.length < PAGE_SIZE) return
    }
  } finally {
    await database.close()
  }
}

/**
 * Copies contents that the target lacks; those that the source lacks are told.
 * @returns those.
 */
export async function copyContents(
  pages: AsyncIterable<readonly Content[]>,
  { from, to, signal }: { from: ContentSource; to: ContentTarget; signal?: AbortSignal },
  report: Report<BackupCounts>,
): Promise<Set<Digest>> {
  const { counts } = report
  const skipped = new Set<Digest>()
  await inLanes(missingIn(pages, to, counts), LANES, async (content) => {
    signal?.throwIfAborted()
    const { digest, sizeBytes } = content
    let outcome = await copyContent(from, to, content)
    // What came wrong once may be right where it is.
    if (outcome === 'damaged') outcome = await copyContent(from, to, content)
    if (outcome === 'copied') {
      counts.copied++
      counts.bytes += sizeBytes
      return
    }
    skipped.add(digest)
    const reason = outcome === 'absent' ? 'content-missing' : 'content-damaged'
    const message = `the content of ${sizeBytes} bytes is ${outcome === 'absent' ? 'missing' : 'damaged'}: push it again`
    await report.skip({ reason, digest, message })
  })
  return skipped
}

/**
 * Those of the contents that the target does not have in their size.
 * @param counts what is looked at.
 */
async function* missingIn(
  pages: AsyncIterable<readonly Content[]>,
  to: ContentTarget,
  counts = new BackupCounts(),
): AsyncGenerator<Content> {
  for await (const page of pages) {
    const sizes = await to.sizes(page.map(({ digest }) => digest))
    for (const content of page) {
      counts.contents++
      counts.namedBytes += content.sizeBytes
      if (sizes.get(content.digest) === content.sizeBytes) counts.present++
      else yield content
    }
  }
}
