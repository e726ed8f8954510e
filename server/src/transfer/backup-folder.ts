import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '@entrepot/oci'
import { FilesystemStore, findStoredSizes, listContentFiles } from '#core/blobs'
import { borrowFolder, FolderInUseError, inspectSqlite } from '#platform/database'
import { isAbsence, syncFolder } from '#platform/disk'

const OWNER_ONLY = 0o700
/** Contents that are looked up at once when old backups go. */
const PAGE_SIZE = 500

/** What is written last, when everything else is on the disk: without it there is no backup. */
export interface BackupMark {
  readonly id: string
  /** ISO 8601: what was acknowledged before is in it. */
  readonly createdAt: string
  /** Contents that it names, with their bytes. */
  readonly contents: number
  readonly bytes: number
  /** Contents that it names and that were missing or damaged when it was made. */
  readonly missing: number
}

/**
 * A folder of backups, which share their content:
 *
 *     blobs/<algorithm>/<first two digits>/<hex>   content, as in a data folder
 *     backups/<id>/entrepot.db                     the metadata of one backup
 *     backups/<id>/backup.json                     its mark, written last
 */
export class BackupFolder {
  readonly store: FilesystemStore
  readonly #path: string

  private constructor(path: string, store: FilesystemStore) {
    this.#path = path
    this.store = store
  }

  /** Opens a folder of backups, which is made if need be. @throws when it is a data folder. */
  static async create(path: string): Promise<BackupFolder> {
    await mkdir(path, { recursive: true, mode: OWNER_ONLY })
    const isThere = async (name: string) => (await sizeOf(join(path, name))) !== undefined
    if ((await isThere('entrepot.db')) || ((await isThere('blobs')) && !(await isThere('backups')))) {
      throw new Error(`${path} is a data folder: name another folder for backups`)
    }
    await mkdir(join(path, 'backups'), { recursive: true, mode: OWNER_ONLY })
    return new BackupFolder(path, await FilesystemStore.open(path))
  }

  /** Opens a folder of backups. @throws when it has none. */
  static async open(path: string): Promise<BackupFolder> {
    const folder = new BackupFolder(path, await openExisting(path))
    if ((await folder.list()).length === 0) throw noBackup(path)
    return folder
  }

  /** Runs work for which nobody else may write to the folder. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    let giveBack: () => void
    try {
      giveBack = borrowFolder(this.#path)
    } catch (error) {
      if (!(error instanceof FolderInUseError)) throw error
      throw new Error(`another backup is being written to ${this.#path}: wait for its end`, { cause: error })
    }
    try {
      return await work()
    } finally {
      giveBack()
    }
  }

  /** Begins a backup; until it is finished it does not count. @returns where its metadata belongs. */
  async begin(id: string): Promise<string> {
    for await (const { id } of this.store.listUploads()) await this.store.removeUpload(id)
    await mkdir(join(this.#path, 'backups', id), { mode: OWNER_ONLY })
    return this.database(id)
  }

  /** Makes what was begun a backup: everything else is on the disk. */
  async finish(mark: BackupMark): Promise<void> {
    const folder = join(this.#path, 'backups', mark.id)
    const temporary = join(folder, 'backup.json.new')
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(`${JSON.stringify(mark, undefined, 2)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    for (const above of [join(this.#path, 'backups'), this.#path]) await syncFolder(above)
    await rename(temporary, join(folder, 'backup.json'))
    await syncFolder(folder)
  }

  database(id: string): string {
    return join(this.#path, 'backups', id, 'entrepot.db')
  }

  /** All backups, the newest first. */
  async list(): Promise<BackupMark[]> {
    const marks: BackupMark[] = []
    for (const id of await this.#ids()) {
      const mark = await readMark(join(this.#path, 'backups', id, 'backup.json'))
      if (mark !== undefined) marks.push({ ...mark, id })
    }
    return marks.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt))
  }

  /** Removes all but the newest backups, what was begun and never finished, and content that no backup names any more. */
  async keepNewest(count: number): Promise<void> {
    const kept = new Set((await this.list()).slice(0, count).map(({ id }) => id))
    for (const id of await this.#ids()) {
      if (kept.has(id)) continue
      const folder = join(this.#path, 'backups', id)
      // From here on it is none, whatever comes in between.
      await rm(join(folder, 'backup.json'), { force: true })
      await syncFolder(folder)
      await rm(folder, { recursive: true })
    }
    await this.#removeUnnamed([...kept])
  }

  async #removeUnnamed(ids: readonly string[]): Promise<void> {
    const databases = ids.map((id) => inspectSqlite(this.database(id), true))
    try {
      const remove = await this.store.prepareRemoval()
      const removeUnnamed = async (page: readonly Digest[]) => {
        const named = new Set<Digest>()
        for (const { read } of databases) for (const [digest] of await findStoredSizes(read, page)) named.add(digest)
        await remove(page.filter((digest) => !named.has(digest)))
      }
      let page: Digest[] = []
      for await (const entry of listContentFiles(this.#path)) {
        if ('digest' in entry) page.push(entry.digest)
        if (page.length < PAGE_SIZE) continue
        await removeUnnamed(page)
        page = []
      }
      await removeUnnamed(page)
    } finally {
      for (const database of databases) await database.close()
    }
  }

  async #ids(): Promise<string[]> {
    const entries = await readdir(join(this.#path, 'backups'), { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  }
}

async function openExisting(path: string): Promise<FilesystemStore> {
  const status = await stat(join(path, 'backups')).catch(() => undefined)
  if (status?.isDirectory() !== true) throw noBackup(path)
  return FilesystemStore.open(path)
}

function noBackup(path: string): Error {
  return new Error(`there is no backup in ${path}: name the folder that "entrepot backup" has written to`)
}

/** Undefined where there is no mark, or one that is not whole. */
async function readMark(file: string): Promise<BackupMark | undefined> {
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what was written by `finish`
    return JSON.parse(await readFile(file, 'utf8')) as BackupMark
  } catch (error) {
    if (error instanceof SyntaxError || isAbsence(error)) return undefined
    throw error
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (status) => status.size,
    () => undefined,
  )
}
