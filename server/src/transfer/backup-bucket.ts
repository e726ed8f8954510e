import { createReadStream } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { Digest } from '@entrepot/oci'
import { Bucket, ObjectWriter, PartBudget, readObject, type S3Options } from '#platform/s3'
import { BucketContents } from './backup-bucket-contents.ts'
import {
  type BackupMark,
  type BackupMetadata,
  type BackupPlace,
  type BegunBackup,
  formatMark,
  parseMark,
} from './backup-place.ts'
import { aloneInBucket } from './bucket-turn.ts'
import { inGroups } from './lanes.ts'

const FOLDER = 'backups/'
const READ_SIZE_BYTES = 1024 * 1024
/** Contents that are looked up, and removed, at once when old backups go. */
const GROUP_SIZE = 500

/** Backups in a bucket, below a prefix. */
export class BackupBucket implements BackupPlace {
  readonly name: string
  readonly contents: BucketContents
  readonly #bucket: Bucket

  private constructor(bucket: Bucket) {
    this.name = bucket.name
    this.contents = new BucketContents(bucket)
    this.#bucket = bucket
  }

  /** @throws ObjectStoreError, within 10 seconds, when the bucket cannot be used, and when a registry keeps its blobs there. */
  static async open(options: S3Options): Promise<BackupBucket> {
    const bucket = await Bucket.open(options)
    await bucket.verify()
    if (await bucket.hasAny('digests/')) {
      throw new Error(`a registry keeps its blobs in ${bucket.name} under that prefix: name another one for backups`)
    }
    return new BackupBucket(bucket)
  }

  async alone<Result>(work: (confirm: () => void) => Promise<Result>): Promise<Result> {
    return aloneInBucket(this.#bucket, work)
  }

  async begin(id: string): Promise<BegunBackup> {
    await this.contents.removeParts()
    const folder = await temporaryFolder()
    const file = join(folder, 'entrepot.db')
    return {
      file,
      finish: async (mark) => {
        await this.#send(createReadStream(file, { highWaterMark: READ_SIZE_BYTES }), metadataKey(id))
        await this.#send(Readable.from([Buffer.from(formatMark(mark))]), markKey(id))
      },
      end: async () => rm(folder, { recursive: true }),
    }
  }

  async marks(): Promise<BackupMark[]> {
    const marks: BackupMark[] = []
    for (const id of await this.ids()) {
      let text = ''
      for await (const bytes of this.#read(markKey(id))) text += Buffer.from(bytes).toString()
      const mark = parseMark(text)
      if (mark !== undefined) marks.push({ ...mark, id })
    }
    return marks
  }

  async ids(): Promise<string[]> {
    const ids = new Set<string>()
    for await (const { key } of this.#bucket.list(FOLDER)) ids.add(key.slice(FOLDER.length).split('/')[0] ?? '')
    return [...ids]
  }

  async openMetadata(id: string): Promise<BackupMetadata> {
    const folder = await temporaryFolder()
    try {
      const name = join(folder, 'entrepot.db')
      const file = await open(name, 'wx', 0o600)
      try {
        for await (const bytes of this.#read(metadataKey(id))) await file.write(bytes)
      } finally {
        await file.close()
      }
      return { file: name, close: async () => rm(folder, { recursive: true }) }
    } catch (error) {
      await rm(folder, { recursive: true })
      throw error
    }
  }

  async remove(id: string): Promise<void> {
    await this.#bucket.delete([markKey(id)])
    await this.#bucket.delete([metadataKey(id)])
  }

  listContents(): AsyncIterable<Digest[]> {
    return inGroups(this.contents.list(), GROUP_SIZE)
  }

  async removeContents(digests: readonly Digest[]): Promise<void> {
    await this.contents.remove(digests)
  }

  /** Writes an object. @throws when it is not there then, whatever the store has said. */
  async #send(chunks: AsyncIterable<Buffer>, key: string): Promise<void> {
    const writer = new ObjectWriter(this.#bucket, key, new PartBudget(this.#bucket.partBytes))
    try {
      for await (const chunk of chunks) await writer.add(chunk)
      await writer.end()
    } catch (error) {
      await writer.abort().catch(() => {})
      throw error
    }
    if ((await this.#bucket.head(key))?.sizeBytes === writer.sizeBytes) return
    throw new Error(`${key} was written to ${this.name}, and is not there: do it again`)
  }

  /** The bytes of an object; none where there is none. */
  async *#read(key: string): AsyncGenerator<Uint8Array> {
    const object = await this.#bucket.head(key)
    if (object !== undefined) yield* readObject(this.#bucket, { key, ...object })
  }
}

const metadataKey = (id: string) => `${FOLDER}${id}/entrepot.db`
const markKey = (id: string) => `${FOLDER}${id}/backup.json`

/** A folder for a copy of metadata, for this user alone. */
async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'entrepot-backup-'))
}
