import { type Digest, digestAlgorithm, isDigest, type Manifest, parseManifest, RegistryError } from '@entrepot/oci'
import { digestOf } from '#core/blobs'
import { childDigests, type ReadManifest } from '#formats/oci'
import type { DistributionSource, SourceRepository } from './distribution-source.ts'
import type { Skipped } from './events.ts'

/** Manifests that are read at once, at most: they may have some megabytes each. */
const GROUP_SIZE = 64

/** Reads the manifests of one repository in the order in which they can be stored. */
export class SourceManifests {
  readonly #origin: DistributionSource
  readonly #repository: SourceRepository
  readonly #maxBytes: number
  readonly #skip: (skipped: Skipped) => Promise<void>

  /**
   * @param options.maxBytes larger manifests are not read.
   * @param options.skip is told of what is not to be imported.
   */
  constructor(
    origin: DistributionSource,
    repository: SourceRepository,
    options: { maxBytes: number; skip: (skipped: Skipped) => Promise<void> },
  ) {
    this.#origin = origin
    this.#repository = repository
    this.#maxBytes = options.maxBytes
    this.#skip = options.skip
  }

  /**
   * Groups of which no member lists another one, and all that they list came before.
   * @param isWanted tells which of them are to be read.
   */
  async *inOrder(isWanted: (digests: readonly Digest[]) => Promise<Set<Digest>>): AsyncGenerator<ReadManifest[]> {
    /** Indexes that are still to come, with what they list. */
    const pending = new Map<Digest, readonly Digest[]>()
    for await (const digests of this.#digests()) {
      const wanted = await isWanted(digests)
      const read = await this.#readAll(digests.filter((digest) => wanted.has(digest)))
      for (const { digest, manifest } of read) {
        if (manifest.kind === 'index') pending.set(digest, childDigests(manifest))
      }
      const images = read.filter(({ manifest }) => manifest.kind === 'image')
      if (images.length > 0) yield images
    }
    while (pending.size > 0) {
      const ready = [...pending].filter(([, children]) => !children.some((child) => pending.has(child)))
      const next = ready.slice(0, GROUP_SIZE).map(([digest]) => digest)
      // Nothing can list itself, in however many steps: its digest would be known before its bytes.
      if (next.length === 0) return
      for (const digest of next) pending.delete(digest)
      yield await this.#readAll(next)
    }
  }

  async *#digests(): AsyncGenerator<Digest[]> {
    let group: Digest[] = []
    for await (const digest of this.#origin.revisions(this.#repository)) {
      if (isDigest(digest)) group.push(digest)
      else await this.#refuse('name-not-allowed', digest, 'this is not a digest that can be verified')
      if (group.length < GROUP_SIZE) continue
      yield group
      group = []
    }
    if (group.length > 0) yield group
  }

  async #readAll(digests: readonly Digest[]): Promise<ReadManifest[]> {
    const read = await Promise.all(digests.map(async (digest) => this.#read(digest)))
    return read.filter((manifest) => manifest !== undefined)
  }

  async #read(digest: Digest): Promise<ReadManifest | undefined> {
    const isNamed = await this.#origin.hasRevision(this.#repository, digest).catch(() => false)
    // Distribution leaves the folder of a manifest that was deleted.
    if (isNamed === undefined) return undefined
    if (!isNamed) return this.#refuse('link-unreadable', digest, 'the link of the manifest does not say its digest')
    const source = this.#origin.content(digest)
    try {
      const bytes = await this.#origin.read(digest, this.#maxBytes)
      if (bytes === null) return await this.#refuse('content-missing', digest, `there is no content: ${source}`)
      if (bytes === undefined) {
        return await this.#refuse('manifest-refused', digest, `it has more than ${this.#maxBytes} bytes`)
      }
      const actual = digestOf(digestAlgorithm(digest), bytes)
      if (actual !== digest) {
        return await this.#refuse('content-damaged', digest, `the content ${source} has the digest ${actual}`)
      }
      return { digest, source, namedIn: undefined, manifest: parse(bytes) }
    } catch (error) {
      if (error instanceof RegistryError) return this.#refuse('manifest-refused', digest, error.message)
      return this.#refuse('content-unreadable', digest, error instanceof Error ? error.message : String(error))
    }
  }

  async #refuse(reason: Skipped['reason'], digest: string, message: string): Promise<undefined> {
    await this.#skip({ reason, repository: this.#repository.name, digest, message })
    return undefined
  }
}

/** Distribution keeps no type beside the document: what it says itself counts. */
function parse(bytes: Buffer): Manifest {
  return parseManifest(bytes, undefined)
}
