import { randomUUID } from 'node:crypto'
import { type Digest, type DigestAlgorithm, digestAlgorithm, RegistryError } from '@entrepot/oci'
import { ensureRepository, findRepositoryId } from '#core/repositories'
import { earlierNow } from '#platform/clock'
import type { Connection, Database, Transaction } from '#platform/database'
import { isDiskFull } from '#platform/disk'
import { findStoredSize, insertBlob, insertMembership } from './blob-rows.ts'
import { ContentHash } from './content-hash.ts'
import type { ContentTurns } from './content-turns.ts'
import { isFinished } from './finished-upload.ts'
import { type BlobStore, isStoreError } from './store.ts'
import { bytesOf, drop, type UploadChunk } from './upload-chunk.ts'
import {
  contentGone,
  cutOff,
  digestMismatch,
  outOfOrder,
  tooManyUploads,
  unknownUpload,
  wrongLength,
} from './upload-refusals.ts'
import { countUploads, deleteUpload, findUpload, findOpenUploads, insertUpload, type UploadRow } from './upload-rows.ts'
import type { UploadTurn, UploadTurns } from './upload-turns.ts'

/**
 * An upload that nothing was added to for so long gives way when no more may be opened: clients that still are at it
 * retry within seconds, or a few minutes at most.
 */
const IDLE_MS = 10 * 60_000

/** The part of all uploads that gives way at once, so that not every start has to look at all of them. */
const GIVEN_UP_AT_ONCE = 0.01

/** Where an upload stands. */
export interface UploadProgress {
  readonly id: string
  readonly sizeBytes: number
}

/** Content that was verified and stored. */
interface VerifiedContent {
  readonly digest: Digest
  readonly sizeBytes: number
}

/**
 * Uploads on their way to become blobs. Their bytes are in the store and their rows in the database, so that an upload
 * survives a restart; here are only the digests in the making, which are made again from the bytes when missing.
 */
export class Uploads {
  readonly #database: Database
  readonly #deletions: Database
  readonly #store: BlobStore
  readonly #maxOpen: number
  readonly #hashes = new Map<string, ContentHash>()
  /** What became content while the transaction that was to say so failed: closing such an upload again succeeds. */
  readonly #unrecorded = new Map<string, VerifiedContent>()
  readonly #turns: UploadTurns
  readonly #contentTurns: ContentTurns
  #makingRoom: Promise<void> | undefined
  /** The ids of uploads that are about to be opened, in their order. */
  readonly #opening = new Set<string>()

  /**
   * @param dependencies.deletions the same database for what makes room.
   * @param dependencies.contentTurns by digest: from when content is stored until a row says so nobody may remove it.
   * @param dependencies.maxOpen how many uploads may be open at once.
   */
  constructor(dependencies: {
    database: Database
    deletions: Database
    store: BlobStore
    contentTurns: ContentTurns
    turns: UploadTurns
    maxOpen: number
  }) {
    this.#contentTurns = dependencies.contentTurns
    this.#turns = dependencies.turns
    this.#database = dependencies.database
    this.#deletions = dependencies.deletions
    this.#store = dependencies.store
    this.#maxOpen = dependencies.maxOpen
  }

  /**
   * Opens an upload. When too many are open, those that nothing was added to for the longest time give way.
   * @throws RegistryError TOOMANYREQUESTS when all are in use.
   */
  async start(repository: string, algorithm: DigestAlgorithm): Promise<UploadProgress> {
    const id = randomUUID()
    if ((await countUploads(this.#database.read)) >= this.#maxOpen) {
      this.#makingRoom ??= this.#giveUpIdle().finally(() => (this.#makingRoom = undefined))
      await this.#makingRoom
    }
    const ahead = [...this.#opening]
    this.#opening.add(id)
    try {
      if (!(await this.#isRoomAfter(ahead))) throw tooManyUploads(this.#maxOpen)
      await this.#database.transaction(async (transaction) => {
        const repositoryId = await ensureRepository(transaction, repository)
        await insertUpload(transaction, { id, repositoryId, algorithm })
      })
    } finally {
      this.#opening.delete(id)
    }
    this.#remember(id, new ContentHash(algorithm))
    return { id, sizeBytes: 0 }
  }

  /**
   * Whether one more may be opened after others that are on their way. They are counted beside the transaction: within it,
   * every start would collide with every other.
   */
  async #isRoomAfter(ahead: readonly string[]): Promise<boolean> {
    const room = this.#maxOpen - ahead.length
    // Some of those ahead have a row by now, and count twice: to leave them out costs more, and is seldom needed.
    if ((await countUploads(this.#database.read)) < room) return true
    return ahead.length > 0 && (await countUploads(this.#database.read, ahead)) < room
  }

  /** @throws RegistryError BLOB_UPLOAD_UNKNOWN */
  async status(repository: string, id: string): Promise<UploadProgress> {
    return this.#take(id, async () => {
      await this.#requireUpload(repository, id)
      return { id, sizeBytes: await this.#store.uploadSize(id) }
    })
  }

  /** @throws RegistryError BLOB_UPLOAD_UNKNOWN, RANGE_INVALID, SIZE_INVALID */
  async append(repository: string, id: string, chunk: UploadChunk): Promise<UploadProgress> {
    return this.#take(id, async (turn) => {
      const upload = await this.#requireUpload(repository, id)
      const hash = await this.#hashOf(id, upload.algorithm)
      await this.#appendTo({ id, hash, turn }, chunk)
      return { id, sizeBytes: hash.sizeBytes }
    })
  }

  /**
   * Appends the last bytes, if any, and makes the upload a blob of the repository. Last bytes that do not arrive in full
   * are dropped, and the upload stays as it was before. What failed after that, or was done and not heard of, can be asked
   * for again in the same words: an upload that is not there is over when the repository has the blob.
   * @throws RegistryError BLOB_UPLOAD_UNKNOWN, RANGE_INVALID, SIZE_INVALID, DIGEST_INVALID (which ends the upload),
   * UNAVAILABLE (which ends it, too) where the digest is wrong after a process was gone in the middle of a request
   */
  async finish(repository: string, id: string, end: { last: UploadChunk; digest: Digest }): Promise<void> {
    await this.#take(id, async (turn) => {
      const upload = await this.#findUpload(repository, id)
      if (upload === undefined) {
        if (!(await isFinished(this.#database.read, this.#store, { id, repository, ...end }))) throw unknownUpload(id)
        return drop(end.last)
      }
      const before = await this.#storedBefore(id, end)
      const content = before ?? (await this.#receiveLast(upload, end, turn))
      // Outside the transaction, which must not last.
      if (before === undefined) await this.#store.joinUpload(id)
      let isPlaced = before !== undefined
      const place = async (connection: Connection) => {
        await turn.confirm(connection)
        if (isPlaced) await this.#requireContent(content)
        else await this.#store.finishUpload(id, content.digest, content.sizeBytes)
        isPlaced = true
        this.#unrecorded.set(id, content)
      }
      await this.#contentTurns.publish(content.digest, place, async (transaction) => {
        await this.#record(transaction, repository, content)
        await deleteUpload(transaction, id)
      })
      turn.over()
      this.#forget(id)
    })
  }

  /** Runs work that keeps bytes under an id: while it goes on they are not abandoned, however old the disk says they are. */
  async use<Result>(work: (id: string) => Promise<Result>): Promise<Result> {
    return this.#turns.takeNew(work)
  }

  /** Gives up an upload. @throws RegistryError BLOB_UPLOAD_UNKNOWN */
  async cancel(repository: string, id: string): Promise<void> {
    await this.#take(id, async (turn) => {
      await this.#requireUpload(repository, id)
      await this.#discard(id, turn)
    })
  }

  /** Receives a whole blob at once; nothing is left of it when that fails. @throws RegistryError DIGEST_INVALID */
  async receive(repository: string, bytes: AsyncIterable<Uint8Array>, digest: Digest): Promise<void> {
    const hash = new ContentHash(digestAlgorithm(digest))
    await this.#turns.takeNew(async (id) => {
      try {
        await this.#store.appendUpload(id, 0, bytes, hash)
        const actual = await hash.digest()
        if (actual !== digest) throw digestMismatch(digest, actual)
        await this.#publishNew(repository, id, { digest, sizeBytes: hash.sizeBytes })
      } catch (error) {
        await this.#store.removeUpload(id)
        throw error
      }
    })
  }

  /** Makes bytes that have no row the content of their digest, and the content a blob of the repository. */
  async #publishNew(repository: string, id: string, content: VerifiedContent): Promise<void> {
    const { digest, sizeBytes } = content
    let isNew: boolean | undefined
    const place = async () => {
      if (isNew !== undefined) {
        await this.#requireContent(content)
        return
      }
      const isAbsent = (await this.#store.size(digest)) === undefined
      await this.#store.finishUpload(id, digest, sizeBytes)
      isNew = isAbsent
    }
    const record = async (transaction: Transaction) => this.#record(transaction, repository, content)
    await this.#contentTurns.publish(digest, place, record).catch(async (error: unknown) => {
      // No row will ever tell of it, and it would keep its room on a disk that has none.
      if (isNew === true && isDiskFull(error)) {
        const remove = await this.#store.prepareRemoval([digest])
        await this.#contentTurns.alone(digest, async (connection) => {
          if ((await findStoredSize(connection, digest)) === undefined) await remove([digest])
        })
      }
      throw error
    })
  }

  /**
   * Gives up uploads that nothing was added to since a time, and bytes that a crash left without an upload.
   * What a request is busy with stays, however slow it is.
   * @param before milliseconds since 1970
   * @param isDryRun only tells
   * @returns the ids of what was, or would be, removed
   */
  async removeAbandoned(before: number, isDryRun: boolean): Promise<string[]> {
    const removed: string[] = []
    const open = await findOpenUploads(this.#database.read)
    const remove = async (id: string) => {
      const isFree = await this.#turns.takeFree(id, open.get(id)?.claims, async (turn) => {
        if (!isDryRun) await this.#discard(id, turn)
      })
      if (isFree) removed.push(id)
    }
    const withoutBytes = new Map(open)
    for await (const upload of this.#store.listUploads()) {
      withoutBytes.delete(upload.id)
      if (upload.modifiedAt < before) await remove(upload.id)
    }
    for (const [id, { startedAt }] of withoutBytes) {
      if (startedAt < before && (await this.#store.uploadSize(id)) === 0) await remove(id)
    }
    return removed
  }

  /** Gives up the uploads that are idle for the longest time, if there are any. */
  async #giveUpIdle(): Promise<void> {
    const open = await findOpenUploads(this.#database.read)
    const times = new Map([...open].map(([id, { startedAt }]) => [id, startedAt]))
    for await (const upload of this.#store.listUploads()) {
      if (times.has(upload.id)) times.set(upload.id, upload.modifiedAt)
    }
    const idleBefore = earlierNow() - IDLE_MS
    const idle = [...times]
      .filter(([id, time]) => time < idleBefore && !this.#turns.isTaken(id))
      .map(([, time]) => time)
      .toSorted((a, b) => a - b)
    const last = idle[Math.ceil(this.#maxOpen * GIVEN_UP_AT_ONCE) - 1] ?? idle.at(-1)
    if (last !== undefined) await this.removeAbandoned(last + 1, false)
  }

  /** Runs work in the upload's turn; what this process remembers of it counts only if nobody else has come in between. */
  async #take<Result>(id: string, work: (turn: UploadTurn) => Promise<Result>): Promise<Result> {
    return this.#turns.take(id, async (turn) => {
      if (!turn.isContinued) this.#forget(id)
      return work(turn)
    })
  }

  /** What was put there may be gone again when the transaction had to wait. */
  async #requireContent({ digest, sizeBytes }: VerifiedContent): Promise<void> {
    if ((await this.#store.size(digest)) === sizeBytes) return
    throw contentGone()
  }

  async #findUpload(repository: string, id: string): Promise<UploadRow | undefined> {
    const repositoryId = await findRepositoryId(this.#database.read, repository)
    return repositoryId === undefined ? undefined : findUpload(this.#database.read, repositoryId, id)
  }

  async #requireUpload(repository: string, id: string): Promise<UploadRow> {
    const upload = await this.#findUpload(repository, id)
    if (upload === undefined) throw unknownUpload(id)
    return upload
  }

  /** The digest of all that the store has of the upload. */
  async #hashOf(id: string, algorithm: DigestAlgorithm): Promise<ContentHash> {
    const known = this.#hashes.get(id)
    const isUsable = known?.algorithm === algorithm && known.isUsable
    if (isUsable && known.sizeBytes === (await this.#store.uploadSize(id))) return known
    const hash = new ContentHash(algorithm)
    for await (const chunk of this.#store.readUpload(id)) await hash.update([chunk])
    this.#remember(id, hash)
    return hash
  }

  async #appendTo(
    { id, hash, turn }: { id: string; hash: ContentHash; turn: UploadTurn },
    chunk: UploadChunk,
    isLast = false,
  ): Promise<void> {
    const offset = hash.sizeBytes
    if (chunk.start !== undefined && chunk.start !== offset) throw outOfOrder(id, offset)
    const before = hash.copy()
    this.#unrecorded.delete(id)
    try {
      await this.#store.appendUpload(id, offset, bytesOf(chunk), hash)
      if (chunk.length !== undefined && hash.sizeBytes - offset !== chunk.length) throw wrongLength()
    } catch (error) {
      // A client whose last request was cut off sends all of it again, often without asking how much had arrived.
      const isAllOrNothing = isLast || (error instanceof RegistryError && error.code === 'SIZE_INVALID')
      // What the store failed to write is not known: the digest is then made again from what it has.
      if (isAllOrNothing || isStoreError(error)) this.#hashes.delete(id)
      if (isAllOrNothing) {
        await turn.confirm(this.#database.read)
        await this.#store.truncateUpload(id, offset)
        this.#remember(id, before)
      }
      throw error
    }
  }

  async #storedBefore(id: string, end: { last: UploadChunk; digest: Digest }): Promise<VerifiedContent | undefined> {
    const content = this.#unrecorded.get(id)
    if (content?.digest !== end.digest || (await this.#store.size(content.digest)) !== content.sizeBytes)
      return undefined
    await drop(end.last)
    return content
  }

  /** Receives and verifies all that is missing of an upload. */
  async #receiveLast(
    upload: UploadRow,
    end: { last: UploadChunk; digest: Digest },
    turn: UploadTurn,
  ): Promise<VerifiedContent> {
    const { id } = upload
    // The last bytes may be there already, or all of them be content of which no row tells.
    const isAfterCut = turn.isAfterCut ?? !this.#hashes.has(id)
    const received = await this.#hashOf(id, upload.algorithm)
    await this.#appendTo({ id, hash: received, turn }, end.last, true)
    const hash = await this.#hashOf(id, digestAlgorithm(end.digest))
    const actual = await hash.digest()
    if (actual !== end.digest) {
      await this.#discard(id, turn)
      throw isAfterCut ? cutOff() : digestMismatch(end.digest, actual)
    }
    return { digest: end.digest, sizeBytes: hash.sizeBytes }
  }

  async #record(transaction: Transaction, repository: string, content: VerifiedContent): Promise<void> {
    const repositoryId = await ensureRepository(transaction, repository)
    await insertBlob(transaction, content.digest, content.sizeBytes)
    await insertMembership(transaction, repositoryId, content.digest)
  }

  async #discard(id: string, turn: UploadTurn): Promise<void> {
    this.#forget(id)
    // The bytes first: on a full disk the transaction may need the room.
    await turn.confirm(this.#database.read)
    await this.#store.removeUpload(id)
    await this.#deletions.transaction(async (transaction) => deleteUpload(transaction, id))
    turn.over()
  }

  #forget(id: string): void {
    this.#hashes.delete(id)
    this.#unrecorded.delete(id)
  }

  #remember(id: string, hash: ContentHash): void {
    const [oldest] = this.#hashes.keys()
    if (oldest !== undefined && this.#hashes.size >= this.#maxOpen) this.#hashes.delete(oldest)
    this.#hashes.set(id, hash)
  }
}
