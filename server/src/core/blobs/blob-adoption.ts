import type { Digest } from '@entrepot/oci'
import type { Database, Transaction } from '#platform/database'
import { findStoredSizes, insertBlobs } from './blob-rows.ts'
import type { ContentTurns } from './content-turns.ts'
import type { FileOrder, FileOutcome, PreparedFile, RefusedFile } from './file-intake.ts'
import type { BlobStore, FileAdoption } from './store.ts'
import { type SourceFiles, UploadedFiles } from './uploaded-files.ts'
import { contentGone } from './upload-refusals.ts'

/** What is verified before it is made known, so that an import that is cut off has not much to do again. */
const MAX_STEP_BYTES = 256 * 1024 * 1024

/** A file that is to become content, and the digest that its bytes must have. */
export interface AdoptableFile extends FileOrder {
  readonly source: string
}

/** What became of files. */
export interface Adoption {
  /** Further names of the files themselves. */
  linked: number
  copied: number
  /** The store had the same content before. */
  present: number
  /** Bytes of files that were linked or copied. */
  bytes: number
  readonly refused: RefusedFile[]
}

/** Makes content known, in one transaction with its rows: it may be run several times. */
export type RecordContents = (transaction: Transaction, sizes: ReadonlyMap<Digest, number>) => Promise<void>

/** Stores content and makes it known, while nobody removes it. */
type Publish = (
  place: () => Promise<void>,
  record: (transaction: Transaction) => Promise<Map<Digest, number>>,
) => Promise<Map<Digest, number>>

type Accepted = Exclude<FileOutcome, RefusedFile>

/** Makes files of this machine content: each is compared with its digest, and neither moved nor changed. */
export class BlobAdoption {
  readonly #database: Database
  readonly #store: BlobStore
  readonly #contentTurns: ContentTurns

  constructor(dependencies: { database: Database; store: BlobStore; contentTurns: ContentTurns }) {
    this.#database = dependencies.database
    this.#store = dependencies.store
    this.#contentTurns = dependencies.contentTurns
  }

  /**
   * Stores files, each of another digest, in steps that are each durable. Content that is there is not read again.
   * @param record is given those of each step with their sizes in bytes, in the transaction that makes them known.
   * @param from what reads the files, where they are not files of this machine.
   * @throws what `record` throws, and the store's error when it cannot be written to.
   */
  async adopt(files: readonly AdoptableFile[], record: RecordContents, from?: SourceFiles): Promise<Adoption> {
    const adoption = from === undefined ? this.#store.adoption : new UploadedFiles(this.#store, from)
    const report: Adoption = { linked: 0, copied: 0, present: 0, bytes: 0, refused: [] }
    let rest = files
    while (rest.length > 0) {
      const stored = await this.#findWhole(rest)
      const orders = rest.map((file) => (stored.has(file.digest) ? { ...file, source: undefined } : file))
      const outcomes = await adoption.prepare(orders, MAX_STEP_BYTES)
      const looked = new Map(rest.slice(0, outcomes.length).map((file) => [file.digest, file]))
      rest = rest.slice(outcomes.length)
      const accepted: Accepted[] = []
      for (const outcome of outcomes) {
        if (outcome.kind === 'prepared' || outcome.kind === 'named') accepted.push(outcome)
        else report.refused.push(outcome)
      }
      const gone = await this.#commit(adoption, accepted, { record, report })
      // The collector came in between: they are read after all.
      rest = [...rest, ...gone.flatMap((digest) => looked.get(digest) ?? [])]
    }
    return report
  }

  /** Those of the files whose content the store has in the size that is known. */
  async #findWhole(files: readonly AdoptableFile[]): Promise<Set<Digest>> {
    const sizes = await findStoredSizes(
      this.#database.read,
      files.map((file) => file.digest),
    )
    const whole = await Promise.all(
      [...sizes].map(async ([digest, sizeBytes]) => ((await this.#store.size(digest)) === sizeBytes ? [digest] : [])),
    )
    return new Set(whole.flat())
  }

  /** @returns what was there before, and is no more. */
  async #commit(
    adoption: FileAdoption,
    accepted: readonly Accepted[],
    step: { record: RecordContents; report: Adoption },
  ): Promise<Digest[]> {
    const gone: Digest[] = []
    const pending = new Set(accepted)
    const commit = async (part: readonly Accepted[], publish: Publish) => {
      gone.push(...(await this.#makeKnown(adoption, part, { ...step, publish })))
      for (const outcome of part) pending.delete(outcome)
    }
    try {
      // No other request can come between the look at the turns and taking them.
      const free = accepted.filter(({ digest }) => !this.#contentTurns.isTaken(digest))
      const busy = accepted.filter(({ digest }) => this.#contentTurns.isTaken(digest))
      if (free.length > 0) {
        const turns = free.map(({ digest }) => digest)
        await commit(free, async (place, record) => this.#contentTurns.publishFree(turns, place, record))
      }
      for (const outcome of busy) {
        await commit([outcome], async (place, record) => this.#contentTurns.publish(outcome.digest, place, record))
      }
    } catch (error) {
      await adoption.discard([...pending])
      throw error
    }
    return gone
  }

  async #makeKnown(
    adoption: FileAdoption,
    part: readonly Accepted[],
    { record, report, publish }: { record: RecordContents; report: Adoption; publish: Publish },
  ): Promise<Digest[]> {
    const prepared = part.filter((outcome) => outcome.kind === 'prepared')
    const named = part.filter(({ kind }) => kind === 'named').map(({ digest }) => digest)
    let refused: RefusedFile[] | undefined
    let placed: readonly PreparedFile[] = []
    const place = async () => {
      if (refused !== undefined) {
        await this.#requireWhole(placed)
        return
      }
      refused = await adoption.place(prepared)
      const changed = new Set(refused.map(({ digest }) => digest))
      placed = prepared.filter(({ digest }) => !changed.has(digest))
    }
    const present = await publish(place, async (transaction) => {
      const sizes = new Map(placed.map(({ digest, sizeBytes }) => [digest, sizeBytes]))
      await insertBlobs(transaction, sizes)
      const present = await findStoredSizes(transaction, named)
      await record(transaction, new Map([...sizes, ...present]))
      return present
    })
    report.refused.push(...(refused ?? []))
    count(report, placed, present.size)
    return named.filter((digest) => !present.has(digest))
  }

  /** What was stored a moment ago may be gone again when the transaction had to wait. */
  async #requireWhole(files: readonly PreparedFile[]): Promise<void> {
    for (const { digest, sizeBytes } of files) {
      if ((await this.#store.size(digest)) !== sizeBytes) throw contentGone()
    }
  }
}

function count(report: Adoption, placed: readonly PreparedFile[], present: number): void {
  report.present += present
  for (const { copy, sizeBytes } of placed) {
    report.bytes += sizeBytes
    if (copy === undefined) report.linked++
    else report.copied++
  }
}
