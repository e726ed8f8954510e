import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '@entrepot/oci'
import { type ContentSource, type ContentTarget, FilesystemStore, listContentFiles, targetOf } from '#core/blobs'
import { borrowFolder, FolderInUseError } from '#platform/database'
import { ignoreAbsent, syncFolder } from '#platform/disk'
import {
  type BackupMark,
  type BackupMetadata,
  type BackupPlace,
  type BegunBackup,
  formatMark,
  parseMark,
} from './backup-place.ts'
import { inGroups } from './lanes.ts'

const OWNER_ONLY = 0o700
/** Contents that are looked up at once when old backups go. */
const GROUP_SIZE = 500

/** A folder of backups. */
export class BackupFolder implements BackupPlace {
  readonly name: string
  readonly contents: ContentSource & ContentTarget
  readonly #store: FilesystemStore
  readonly #path: string

  private constructor(path: string, store: FilesystemStore) {
    this.name = path
    this.contents = { open: async (digest) => store.open(digest), ...targetOf(store) }
    this.#path = path
    this.#store = store
  }

  /** Opens a folder of backups, which is made if need be. @throws when it is a data folder. */
  static async create(path: string): Promise<BackupFolder> {
    await mkdir(path, { recursive: true, mode: OWNER_ONLY })
    const isThere = async (name: string) => (await stat(join(path, name)).catch(ignoreAbsent)) !== undefined
    if ((await isThere('entrepot.db')) || ((await isThere('blobs')) && !(await isThere('backups')))) {
      throw new Error(`${path} is a data folder: name another folder for backups`)
    }
    await mkdir(join(path, 'backups'), { recursive: true, mode: OWNER_ONLY })
    return new BackupFolder(path, await FilesystemStore.open(path))
  }

  /** Opens a folder of backups; undefined when it is none. */
  static async open(path: string): Promise<BackupFolder | undefined> {
    const status = await stat(join(path, 'backups')).catch(() => undefined)
    return status?.isDirectory() === true ? new BackupFolder(path, await FilesystemStore.open(path)) : undefined
  }

  async alone<Result>(work: (confirm: () => void) => Promise<Result>): Promise<Result> {
    let giveBack: () => void
    try {
      giveBack = borrowFolder(this.#path)
    } catch (error) {
      if (!(error instanceof FolderInUseError)) throw error
      throw new Error(`another backup is being written to ${this.#path}: wait for its end`, { cause: error })
    }
    try {
      // The kernel lets nobody else in.
      return await work(() => {})
    } finally {
      giveBack()
    }
  }

  async begin(id: string): Promise<BegunBackup> {
    for await (const { id } of this.#store.listUploads()) await this.#store.removeUpload(id)
    await mkdir(this.#folder(id), { mode: OWNER_ONLY })
    return {
      file: join(this.#folder(id), 'entrepot.db'),
      finish: async (mark) => this.#finish(mark),
      end: async () => {},
    }
  }

  async marks(): Promise<BackupMark[]> {
    const marks: BackupMark[] = []
    for (const id of await this.ids()) {
      const text = await readFile(join(this.#folder(id), 'backup.json'), 'utf8').catch(ignoreAbsent)
      const mark = text === undefined ? undefined : parseMark(text)
      if (mark !== undefined) marks.push({ ...mark, id })
    }
    return marks
  }

  async ids(): Promise<string[]> {
    const entries = await readdir(join(this.#path, 'backups'), { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  }

  async openMetadata(id: string): Promise<BackupMetadata> {
    return { file: join(this.#folder(id), 'entrepot.db'), close: async () => {} }
  }

  async remove(id: string): Promise<void> {
    const folder = this.#folder(id)
    await rm(join(folder, 'backup.json'), { force: true })
    await syncFolder(folder)
    await rm(folder, { recursive: true })
  }

  async *listContents(): AsyncIterable<Digest[]> {
    for await (const entries of inGroups(listContentFiles(this.#path), GROUP_SIZE)) {
      yield entries.flatMap((entry) => ('digest' in entry ? [entry.digest] : []))
    }
  }

  async removeContents(digests: readonly Digest[]): Promise<void> {
    const remove = await this.#store.prepareRemoval()
    await remove(digests)
  }

  async #finish(mark: BackupMark): Promise<void> {
    const folder = this.#folder(mark.id)
    const temporary = join(folder, 'backup.json.new')
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(formatMark(mark))
      await file.sync()
    } finally {
      await file.close()
    }
    for (const above of [join(this.#path, 'backups'), this.#path]) await syncFolder(above)
    await rename(temporary, join(folder, 'backup.json'))
    await syncFolder(folder)
  }

  #folder(id: string): string {
    return join(this.#path, 'backups', id)
  }
}
