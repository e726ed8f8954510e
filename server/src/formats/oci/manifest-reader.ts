import { type Acceptance, type Digest, isDigest, isIndexType, parseManifest, type Reference } from '@entrepot/oci'
import type { Blobs } from '#core/blobs'
import { type Database, ReadCache } from '#platform/database'
import { findManifest, findNamedManifest, type ManifestRow, type NamedManifestRow } from './manifest-rows.ts'
import { manifestUnknown, requireRepository } from './manifests.ts'
import { referrersIndexForTag } from './referrers.ts'

/** What clients that know no index get of one, as from Docker's registry. */
const DEFAULT_PLATFORM = { os: 'linux', architecture: 'amd64' }

/** A manifest as it is served: the bytes are exactly those that were pushed. */
export interface ServedManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

/** Reads manifests: the most frequent request of all. */
export class ManifestReader {
  readonly #database: Database
  readonly #blobs: Blobs
  readonly #remembered: ReadCache<NamedManifestRow>

  constructor(dependencies: { database: Database; blobs: Blobs }) {
    this.#database = dependencies.database
    this.#blobs = dependencies.blobs
    this.#remembered = new ReadCache(dependencies.database)
  }

  /**
   * Finds what a reference stands for. By digest it is served as it is; by tag, a client that knows no index gets the
   * image for linux/amd64 out of one. What the client did not ask for is served where there is nothing better, as the
   * specification demands.
   * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN
   */
  async get(repository: string, reference: Reference, acceptance: Acceptance): Promise<ServedManifest> {
    const found = await this.#find(repository, reference)
    if (found === undefined) return this.#getUnnamed(repository, reference)
    const served = await this.#serve(found)
    if ('digest' in reference || acceptance.accepts(served.mediaType)) return served
    const child = defaultPlatformDigest(served)
    const image = child === undefined ? undefined : await findManifest(this.#database.read, found.repositoryId, child)
    return image !== undefined && acceptance.accepts(image.mediaType) ? this.#serve(image) : served
  }

  async #find(repository: string, reference: Reference): Promise<NamedManifestRow | undefined> {
    const text = 'digest' in reference ? reference.digest : reference.tag
    return this.#remembered.get(`${repository}:${text}`, async () =>
      findNamedManifest(this.#database.read, repository, reference),
    )
  }

  /** What has no row may still be the list of referrers under a tag; everything else is unknown. */
  async #getUnnamed(repository: string, reference: Reference): Promise<ServedManifest> {
    const repositoryId = await requireRepository(this.#database.read, repository)
    if ('digest' in reference) throw manifestUnknown(`the repository has no manifest ${reference.digest}`, reference)
    const referrers = await referrersIndexForTag(this.#database.read, repositoryId, reference.tag)
    if (referrers !== undefined) return referrers
    throw manifestUnknown(`the repository has no tag "${reference.tag}"`, reference)
  }

  async #serve({ digest, mediaType, sizeBytes }: ManifestRow): Promise<ServedManifest> {
    const bytes = await this.#blobs.load(digest, sizeBytes)
    if (bytes !== undefined) return { digest, mediaType, bytes }
    // Bytes that the store lost are unknown too: whoever has them can then push them again.
    throw manifestUnknown(`the repository has no manifest ${digest}`, { digest })
  }
}

function defaultPlatformDigest(index: ServedManifest): Digest | undefined {
  if (!isIndexType(index.mediaType)) return undefined
  const manifest = parseManifest(index.bytes, index.mediaType)
  if (manifest.kind !== 'index') return undefined
  const match = manifest.manifests.find(
    ({ platform }) => platform?.os === DEFAULT_PLATFORM.os && platform.architecture === DEFAULT_PLATFORM.architecture,
  )
  return match !== undefined && isDigest(match.digest) ? match.digest : undefined
}
