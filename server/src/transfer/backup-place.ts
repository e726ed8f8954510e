import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { Digest } from '@entrepot/oci'
import type { ContentSource, ContentTarget } from '#core/blobs'

/** What is written last, when everything else is there: without it there is no backup. */
export interface BackupMark {
  readonly id: string
  /** ISO 8601: what was acknowledged before is in it. */
  readonly createdAt: string
  /** Contents that it names, with their bytes. */
  readonly contents: number
  readonly bytes: number
  /** Contents that it names and that were missing or damaged when it was made. */
  readonly missing: number
  /** The digest of its metadata; older backups have none. */
  readonly metadata?: string
}

/** A backup that does not count until it is finished. */
export interface BegunBackup {
  /** Where its metadata is written to. */
  readonly file: string
  /** Makes it a backup, durably: its content is there. */
  finish(mark: BackupMark): Promise<void>
  /** Lets go of what only the work needed, whether it was finished or not. */
  end(): Promise<void>
}

/** The metadata of a backup as a file of this machine. */
export interface BackupMetadata {
  readonly file: string
  close(): Promise<void>
}

/**
 * Where backups are kept, which share their content: a folder or a bucket, with the same names in both, so that one can be
 * copied to the other:
 *
 *     blobs/<algorithm>/<first two digits>/<hex>   content, as in a data folder
 *     backups/<id>/entrepot.db                     the metadata of one backup
 *     backups/<id>/backup.json                     its mark, written last
 */
export interface BackupPlace {
  /** For messages. */
  readonly name: string
  readonly contents: ContentSource & ContentTarget
  /**
   * Runs work while nobody else writes there.
   * @param work is given what throws when that cannot be relied on any more.
   * @throws when somebody does.
   */
  alone<Result>(work: (confirm: () => void) => Promise<Result>): Promise<Result>
  /** Begins a backup, and removes what was left of content on its way. */
  begin(id: string): Promise<BegunBackup>
  /** All backups, in no order. */
  marks(): Promise<BackupMark[]>
  /** The ids of all backups, and of what was begun and never finished. */
  ids(): Promise<string[]>
  openMetadata(id: string): Promise<BackupMetadata>
  /** Removes a backup; from the first step on it is none, whatever comes in between. Its content stays. */
  remove(id: string): Promise<void>
  /** All content that is there, in groups. */
  listContents(): AsyncIterable<readonly Digest[]>
  removeContents(digests: readonly Digest[]): Promise<void>
}

/** All backups of a place, the newest first. */
export async function listMarks(place: BackupPlace): Promise<BackupMark[]> {
  return (await place.marks()).toSorted((one, other) => other.createdAt.localeCompare(one.createdAt))
}

/** @throws when there is no backup. */
export async function requireBackups(place: BackupPlace): Promise<BackupMark[]> {
  const marks = await listMarks(place)
  if (marks.length > 0) return marks
  throw new Error(`there is no backup in ${place.name}: name the place that "entrepot backup" has written to`)
}

/** Opens the metadata of a backup. @throws when it is not what was written. */
export async function openSoundMetadata(place: BackupPlace, { id, metadata }: BackupMark): Promise<BackupMetadata> {
  const opened = await place.openMetadata(id)
  try {
    if (metadata === undefined || (await digestOfFile(opened.file)) === metadata) return opened
    throw new Error(`the metadata of the backup ${id} is damaged: take another one with --backup, or remove it`)
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** The digest of what a file holds. */
export async function digestOfFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return `sha256:${hash.digest('hex')}`
}

/** Reads a mark. @returns undefined for one that is not whole. */
export function parseMark(text: string): BackupMark | undefined {
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what was written by `finish`
    return JSON.parse(text) as BackupMark
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

export const formatMark = (mark: BackupMark): string => `${JSON.stringify(mark, undefined, 2)}\n`
