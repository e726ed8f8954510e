import { type Digest, digestAlgorithm } from '@entrepot/oci'
import { LRUCache } from 'lru-cache'
import type { Logger } from '#platform/log'
import { ContentChecks, type UncheckedContent, WrongContentError } from './content-check.ts'
import { digestOf } from './content-hash.ts'
import type { ContentTurns } from './content-turns.ts'
import type { BlobStore, StoredContent } from './store.ts'
import { Verdicts } from './verdicts.ts'

/** How much small content is kept in memory, and how large a piece of it may be. */
const CACHE_SIZE_BYTES = 32 * 1024 * 1024
const MAX_CACHED_BYTES = 1024 * 1024
/** What an entry takes beside its bytes; without it millions of tiny blobs would seem to take next to nothing. */
const ENTRY_BYTES = 512
/** Blobs up to this size are served from memory. */
const MAX_SMALL_BYTES = 256 * 1024
/** What is sent in one piece is verified before it, so that there is an answer to cut off only where that saves time. */
const MAX_PIECE_BYTES = 1024 * 1024

/** What is done about content that may be damaged. */
export interface ContentPolicy {
  /** Whether large content is compared with its digest when it is first read; small content always is. */
  readonly verifiesReads: boolean
  /** How long it counts as read, in milliseconds. */
  readonly verificationAgeMs: number
  /** Whether what is found damaged is put aside, which changes the store. */
  readonly quarantines: boolean
  /** Hears of each content that is found damaged. */
  readonly onDamage: () => void
}

/** Content that is open for reading, for a client. */
export interface ServedContent extends StoredContent {
  /** For what nobody knows yet to be right. */
  readonly check: UncheckedContent['check'] | undefined
  /** To be told when reading it has failed: it is then read as a whole before it is served again. */
  distrust(): void
}

/**
 * Reads what the store has. Content is verified when it is first read: small one before it is served, and it is then
 * kept in memory; large one while it is served, so that its last bytes wait for that.
 * Absent is the honest answer for what is damaged: a client that has the content then pushes it again, which mends it.
 */
export class Contents {
  readonly #store: BlobStore
  readonly #contentTurns: ContentTurns
  readonly #log: Logger
  readonly #policy: ContentPolicy
  readonly #verdicts: Verdicts
  readonly #checks = new ContentChecks((digest, content, verdict) => {
    if (verdict === 'wrong') this.#condemn(digest, content)
    else this.#verdicts.note(digest, content, verdict)
  })
  readonly #verified = new LRUCache<Digest, Buffer>({
    maxSize: CACHE_SIZE_BYTES,
    maxEntrySize: ENTRY_BYTES + MAX_CACHED_BYTES,
    sizeCalculation: (bytes) => ENTRY_BYTES + bytes.byteLength,
  })

  /** @param dependencies.contentTurns by digest: in its turn nobody stores the same content. */
  constructor(dependencies: { store: BlobStore; contentTurns: ContentTurns; log: Logger; policy: ContentPolicy }) {
    this.#store = dependencies.store
    this.#contentTurns = dependencies.contentTurns
    this.#log = dependencies.log
    this.#policy = dependencies.policy
    this.#verdicts = new Verdicts(dependencies.policy.verificationAgeMs)
  }

  /** All bytes of small content, verified; undefined if the store has lost or damaged it. */
  async load(digest: Digest, sizeBytes: number): Promise<Buffer | undefined> {
    const known = this.#verified.get(digest)
    if (known !== undefined) return known
    const content = await this.#openWhole(digest, sizeBytes)
    if (content === undefined) return undefined
    const bytes = await readAndClose(content)
    if (digestOf(digestAlgorithm(digest), bytes) !== digest) {
      this.#condemn(digest, content)
      return undefined
    }
    this.#verified.set(digest, bytes)
    return bytes
  }

  /**
   * Small content as its bytes, anything else open for reading; undefined if the store has lost or damaged it.
   * @param isRead whether it is going to be read.
   * @throws the store's error, where all of it is read first, and that fails.
   */
  async open(digest: Digest, sizeBytes: number, isRead: boolean): Promise<Buffer | ServedContent | undefined> {
    if (sizeBytes <= MAX_SMALL_BYTES) return this.load(digest, sizeBytes)
    const content = await this.#openWhole(digest, sizeBytes)
    if (content === undefined) return undefined
    const distrust = () => {
      if (this.#verdicts.find(digest, content) !== 'wrong') this.#verdicts.note(digest, content, 'unreadable')
    }
    const served = { ...content, check: undefined, distrust }
    const verdict = this.#verdicts.find(digest, content)
    if (verdict === 'right' || !isRead) return served
    // Where a read has failed before, the answer would be cut off again.
    if (verdict === 'unreadable') return this.#verifyFirst(digest, served)
    if (!this.#policy.verifiesReads) return served
    if (sizeBytes <= MAX_PIECE_BYTES) return this.#verifyFirst(digest, served)
    return { ...this.#checks.wrap(digest, content), distrust }
  }

  /** Whether the store has the content in its full size, as far as is known. */
  async isWhole(digest: Digest, sizeBytes: number): Promise<boolean> {
    const content = await this.#openWhole(digest, sizeBytes)
    await content?.close()
    return content !== undefined
  }

  /** Whether the store has the content, byte for byte. */
  async isRight(digest: Digest, sizeBytes: number): Promise<boolean> {
    const content = await this.#openWhole(digest, sizeBytes)
    if (content === undefined) return false
    return digestOf(digestAlgorithm(digest), await readAndClose(content)) === digest
  }

  /**
   * Reads all of the content, whatever is known of it, and puts it aside when it is damaged.
   * @returns whether it was put aside.
   * @throws the store's error, when it cannot be read.
   */
  async examine(digest: Digest): Promise<boolean> {
    const content = await this.#store.open(digest)
    if (content === undefined) return false
    try {
      if (await hasDigest(content, digest)) return false
    } finally {
      await content.close()
    }
    // From memory it would be served as if nothing had happened, and nobody would push it again.
    this.#verified.delete(digest)
    this.#note(digest, content)
    return this.#quarantine(digest, content.identity)
  }

  async #openWhole(digest: Digest, sizeBytes: number): Promise<StoredContent | undefined> {
    const content = await this.#store.open(digest)
    if (content === undefined) {
      this.#log.error({ digest }, 'content is missing in the store; push an image that has it again')
      return undefined
    }
    if (content.sizeBytes !== sizeBytes) this.#condemn(digest, content, false)
    else if (this.#verdicts.find(digest, content) !== 'wrong') return content
    await content.close()
    return undefined
  }

  /** Reads all of it before it is served. */
  async #verifyFirst(digest: Digest, content: ServedContent): Promise<ServedContent | undefined> {
    const checked = this.#checks.wrap(digest, content)
    try {
      await checked.check.confirm()
      return content
    } catch (error) {
      await checked.close()
      if (error instanceof WrongContentError) return undefined
      throw error
    }
  }

  /**
   * Notes that content is damaged, and puts it aside.
   * @param isHashed false where only its size is wrong: that may be the row's mistake, and right bytes are not moved.
   */
  #condemn(digest: Digest, content: StoredContent, isHashed = true): void {
    if (this.#verdicts.find(digest, content) === 'wrong') return
    this.#note(digest, content)
    if (!this.#policy.quarantines) return
    this.#quarantine(digest, content.identity, isHashed).catch((error: unknown) => {
      this.#log.error({ err: error, digest }, 'damaged content cannot be put into quarantine')
    })
  }

  /** From now on it is not served. */
  #note(digest: Digest, content: StoredContent): void {
    this.#verdicts.note(digest, content, 'wrong')
    this.#policy.onDamage()
    this.#log.error(
      { digest },
      'content is damaged: it is not served until it is pushed again; check the disk, and push an image that has it',
    )
  }

  /** @returns whether it was moved. */
  async #quarantine(digest: Digest, identity: string, isHashed = true): Promise<boolean> {
    if (!isHashed && (await this.#isTheSame(digest, identity, async (content) => hasDigest(content, digest))))
      return false
    // In its turn, so that what was pushed meanwhile stays.
    return this.#contentTurns.alone(digest, async () => {
      const isMoved = await this.#isTheSame(digest, identity)
      if (isMoved) await this.#store.quarantine(digest)
      return isMoved
    })
  }

  async #isTheSame(
    digest: Digest,
    identity: string,
    isMore: (content: StoredContent) => Promise<boolean> = async () => true,
  ): Promise<boolean> {
    const content = await this.#store.open(digest)
    try {
      return content?.identity === identity && (await isMore(content))
    } finally {
      await content?.close()
    }
  }
}

async function hasDigest(content: StoredContent, digest: Digest): Promise<boolean> {
  return (await content.digest(digestAlgorithm(digest))) === digest
}

async function readAndClose(content: StoredContent): Promise<Buffer> {
  try {
    const bytes = Buffer.allocUnsafeSlow(content.sizeBytes)
    let position = 0
    while (position < bytes.byteLength) {
      const length = await content.read(bytes.subarray(position), position)
      if (length === 0) break
      position += length
    }
    return bytes.subarray(0, position)
  } finally {
    await content.close()
  }
}
