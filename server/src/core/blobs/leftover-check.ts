import type { Dirent } from 'node:fs'
import { lstat, opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, isDigest } from '@entrepot/oci'
import { type Checked, type Finding, finding } from '#core/findings'
import type { Connection } from '#platform/database'
import { findStored, hasUpload } from './blob-check-rows.ts'

const PAGE_SIZE = 500
/** Beside a running server what is younger may be in the making: bytes come before their row. */
export const YOUNG_MS = 60_000
/** The row of content goes a moment before its file does. */
export const SECOND_LOOK_MS = 500

export interface LeftoverCheck {
  readonly root: string
  /** Undefined where the database cannot be read: files are then only counted, and strange names told. */
  readonly connection: Connection | undefined
  /** Whether a server may be working in the folder. */
  readonly isOnline: boolean
  readonly checked: Checked
}

/** A file under a digest, where it belongs. */
interface ContentFile {
  readonly digest: Digest
  readonly path: string
}

/** Walks through the folders of the store and tells of what no row knows. Nothing of it harms anybody. */
export async function* checkLeftovers(check: LeftoverCheck): AsyncGenerator<Finding> {
  let page: ContentFile[] = []
  for await (const entry of listContentFiles(check.root)) {
    if (!('digest' in entry)) {
      yield* strayName(check, entry.path)
      continue
    }
    check.checked.files++
    page.push(entry)
    if (page.length < PAGE_SIZE) continue
    yield* checkFiles(check, page)
    page = []
  }
  yield* checkFiles(check, page)
  yield* checkUploadFiles(check)
  yield* listQuarantine(check)
}

async function* checkFiles(check: LeftoverCheck, page: readonly ContentFile[]): AsyncGenerator<Finding> {
  const { connection } = check
  if (connection === undefined) return
  const withoutRow = async (files: readonly ContentFile[]) => {
    const stored = await findStored(
      connection,
      files.map((file) => file.digest),
    )
    return files.filter((file) => !stored.has(file.digest))
  }
  let suspects = await withoutRow(page)
  if (check.isOnline && suspects.length > 0) {
    await sleep(SECOND_LOOK_MS)
    suspects = await withoutRow(suspects)
  }
  for (const { digest, path } of suspects) {
    if (!(await isLeft(check, path))) continue
    yield finding(
      'file-without-row',
      `no row tells of the file ${path}: a push that a crash interrupted, or the database is older than the file; ` +
        'pushing the content again makes it known, and it may be deleted when the database is the right one',
      { digest },
    )
  }
}

async function* checkUploadFiles(check: LeftoverCheck): AsyncGenerator<Finding> {
  const folder = join(check.root, 'uploads')
  for await (const entry of entriesOf(folder)) {
    const path = join(folder, entry.name)
    if (!entry.isFile()) {
      yield* strayName(check, path)
      continue
    }
    if (check.connection === undefined || (await hasUpload(check.connection, entry.name))) continue
    if (!(await isLeft(check, path))) continue
    yield finding(
      'upload-without-row',
      `no upload is open for the file ${path}: it is removed after storage.maintenance.uploadpurging.age`,
    )
  }
}

async function* listQuarantine(check: LeftoverCheck): AsyncGenerator<Finding> {
  const folder = join(check.root, 'quarantine')
  for await (const algorithm of entriesOf(folder)) {
    for await (const entry of entriesOf(join(folder, algorithm.name))) {
      const digest = `${algorithm.name}:${entry.name}`
      const path = join(folder, algorithm.name, entry.name)
      if (!isDigest(digest)) yield* strayName(check, path)
      else
        yield finding('quarantined', `damaged content was moved to ${path}: delete it when nobody needs it`, { digest })
    }
  }
}

async function* strayName(check: LeftoverCheck, path: string): AsyncGenerator<Finding> {
  if (await isLeft(check, path))
    yield finding('stray-name', `nothing of the registry is called ${path}: move it elsewhere`)
}

/** Whether something is there and, beside a running server, has been for a while. */
async function isLeft(check: LeftoverCheck, path: string): Promise<boolean> {
  try {
    const status = await lstat(path)
    return !check.isOnline || Date.now() - status.ctimeMs > YOUNG_MS
  } catch {
    return false
  }
}

/** All that lies below `blobs`: files under digests, and what has another name or place. */
export async function* listContentFiles(root: string): AsyncGenerator<ContentFile | { readonly path: string }> {
  const blobs = join(root, 'blobs')
  for await (const algorithm of entriesOf(blobs)) {
    const folder = join(blobs, algorithm.name)
    if (!mayBeFolder(algorithm) || !/^sha(?:256|512)$/.test(algorithm.name)) {
      yield { path: folder }
      continue
    }
    for await (const prefix of entriesOf(folder)) {
      const prefixFolder = join(folder, prefix.name)
      if (!mayBeFolder(prefix) || !/^[0-9a-f]{2}$/.test(prefix.name)) {
        yield { path: prefixFolder }
        continue
      }
      for await (const entry of entriesOf(prefixFolder)) {
        const path = join(prefixFolder, entry.name)
        const digest = `${algorithm.name}:${entry.name}`
        // What is no file is told of with the row that needs it.
        if (isDigest(digest) && entry.name.startsWith(prefix.name)) yield { digest, path }
        else yield { path }
      }
    }
  }
}

/** Folders may be links to another disk. */
function mayBeFolder(entry: Dirent): boolean {
  return entry.isDirectory() || entry.isSymbolicLink()
}

/** What a folder holds; nothing where there is none, or one that cannot be read: its content is told of elsewhere. */
async function* entriesOf(path: string): AsyncGenerator<Dirent> {
  try {
    for await (const entry of await opendir(path)) yield entry
  } catch (error) {
    if (!(error instanceof Error) || !('syscall' in error)) throw error
  }
}
