import { type Digest, isDigest, RegistryError } from '@entrepot/oci'
import { checkUrls, childDigests, judgeChildren, type ManifestPolicy, type ReadManifest } from '#formats/oci'
import {
  type DistributionLocation,
  type DistributionSource,
  type DistributionStorage,
  openDistribution,
  type SourceRepository,
} from './distribution-source.ts'
import { isNameAllowed, readTags, REASONS } from './distribution-import.ts'
import { type Listener, Report, type Skipped } from './events.ts'
import { ImportCounts } from './import-counts.ts'
import { inGroups, inLanes } from './lanes.ts'
import { SourceManifests } from './source-manifests.ts'

const LANES = 2
const GROUP_SIZE = 512

type Children = Map<Digest, { sizeBytes: number; nesting: number }>

/**
 * Tells what an import of what CNCF distribution has stored into an empty registry would do. All content is read once and
 * compared with its digest, and every link, manifest and tag is looked at; nothing is written, and no registry is needed.
 * @throws when there is no registry.
 */
export async function verifyDistribution(
  options: DistributionLocation & {
    policy: ManifestPolicy
    maxManifestBytes: number
    readStorage: (file: string) => DistributionStorage
  },
  tell: Listener<ImportCounts>,
): Promise<void> {
  const origin = await openDistribution(options, options.readStorage)
  const report = new Report(new ImportCounts(), tell)
  const verification = new Verification(origin, report, options)
  await report.during(async () => verification.run())
}

class Verification {
  readonly #origin: DistributionSource
  readonly #report: Report<ImportCounts>
  readonly #options: { policy: ManifestPolicy; maxManifestBytes: number }
  /** What is wrong with content: told where a repository has it. */
  readonly #bad = new Map<Digest, Pick<Skipped, 'reason' | 'message'>>()

  constructor(
    origin: DistributionSource,
    report: Report<ImportCounts>,
    options: { policy: ManifestPolicy; maxManifestBytes: number },
  ) {
    this.#origin = origin
    this.#report = report
    this.#options = options
  }

  async run(): Promise<void> {
    await inLanes(inGroups(this.#origin.contents(), GROUP_SIZE), LANES, async (digests) => this.#readContents(digests))
    for await (const repository of this.#origin.repositories()) {
      if (await isNameAllowed(repository.name, this.#report)) await this.#lookAt(repository)
    }
  }

  async #readContents(digests: readonly Digest[]): Promise<void> {
    const orders = digests.map((digest) => ({ digest, namedIn: undefined, source: this.#origin.content(digest) }))
    for (const outcome of await this.#origin.compare(orders)) {
      if (outcome.kind === 'prepared') this.#report.counts.bytes += outcome.sizeBytes
      else if (outcome.kind !== 'named') {
        const { kind, digest, message } = outcome
        this.#bad.set(digest, { reason: REASONS[kind] ?? 'content-missing', message })
      }
    }
  }

  async #lookAt(repository: SourceRepository): Promise<void> {
    this.#report.counts.repositories++
    for await (const digests of inGroups(this.#origin.layers(repository), GROUP_SIZE)) {
      await this.#lookAtBlobs(repository, digests)
    }
    const manifests: Children = new Map()
    const source = new SourceManifests(this.#origin, repository, {
      maxBytes: this.#options.maxManifestBytes,
      skip: async (skipped) => this.#report.skip(skipped),
    })
    for await (const group of source.inOrder(async (digests) => new Set(digests))) {
      for (const read of group) await this.#lookAtManifest(repository, read, manifests)
    }
    this.#report.counts.manifests += manifests.size
    for await (const names of inGroups(this.#origin.tags(repository), GROUP_SIZE)) {
      for (const [tag, digest] of await readTags(this.#origin, repository, { names, report: this.#report })) {
        if (manifests.has(digest)) this.#report.counts.tags++
        else {
          const message = 'the tag stands for a manifest that is not there'
          await this.#report.skip({ reason: 'tag-without-manifest', repository: repository.name, tag, digest, message })
        }
      }
    }
  }

  async #lookAtBlobs(repository: SourceRepository, digests: readonly string[]): Promise<void> {
    const orders = digests.filter((digest) => isDigest(digest)).map((digest) => this.#nameOrder(repository, digest))
    const outcomes = await this.#origin.compare(orders)
    const { name } = repository
    for (const digest of digests.filter((digest) => !isDigest(digest))) {
      const message = 'this is not a digest that can be verified'
      await this.#report.skip({ reason: 'name-not-allowed', repository: name, digest, message })
    }
    for (const outcome of outcomes) {
      const { kind, digest } = outcome
      const bad = this.#bad.get(digest)
      if (kind === 'forgotten') continue
      if (kind === 'unnamed') {
        await this.#report.skip({ reason: 'link-unreadable', repository: name, digest, message: outcome.message })
      } else if (bad !== undefined) {
        await this.#report.skip({ ...bad, repository: name, digest })
      } else if ((await this.#sizeOf(digest)) === undefined) {
        const message = `there is no content: ${this.#origin.content(digest)}`
        await this.#report.skip({ reason: 'content-missing', repository: name, digest, message })
      } else this.#report.counts.blobs++
    }
  }

  #nameOrder(repository: SourceRepository, digest: Digest) {
    return { digest, namedIn: this.#origin.layerLink(repository, digest), source: undefined }
  }

  async #lookAtManifest(repository: SourceRepository, read: ReadManifest, manifests: Children): Promise<void> {
    const { digest, manifest } = read
    const known = manifest.kind === 'index' ? manifests : new Map()
    const blobSizes = new Map<string, number>()
    const orders = childDigests(manifest)
      .filter((child) => !known.has(child))
      .map((child) => this.#nameOrder(repository, child))
    for (const outcome of await this.#origin.compare(orders)) {
      const sizeBytes = outcome.kind === 'named' ? await this.#sizeOf(outcome.digest) : undefined
      if (sizeBytes !== undefined) blobSizes.set(outcome.digest, sizeBytes)
    }
    try {
      checkUrls(manifest, this.#options.policy)
      const { nesting } = judgeChildren(manifest, this.#options.policy, { blobSizes, manifests: known })
      manifests.set(digest, { sizeBytes: (await this.#sizeOf(digest)) ?? 0, nesting })
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      const { message } = error
      await this.#report.skip({ reason: 'manifest-refused', repository: repository.name, digest, message })
    }
  }

  /** The size of whole content in bytes; undefined where there is none. */
  async #sizeOf(digest: Digest): Promise<number | undefined> {
    if (this.#bad.has(digest)) return undefined
    return this.#origin.size(digest)
  }
}
