import { type Digest, isDigest, isTag, parseRepositoryName, RegistryError } from '@entrepot/oci'
import type { AdoptableFile, Adoption, RefusedFile } from '#core/blobs'
import { findImported, importBlobs, importManifests, importTags, type ManifestDependencies } from '#formats/oci'
import {
  type DistributionLocation,
  type DistributionSource,
  type DistributionStorage,
  openDistribution,
  type SourceRepository,
} from './distribution-source.ts'
import { type Listener, Report, type SkipReason } from './events.ts'
import { ImportCounts } from './import-counts.ts'
import { inGroups, inLanes } from './lanes.ts'
import { SourceManifests } from './source-manifests.ts'

/** Repositories that are worked on at once: while one waits for the disk, others go on. */
const REPOSITORY_LANES = 4
/** Groups of one repository's blobs that are worked on at once. */
const BLOB_LANES = 3
const BLOBS_PER_GROUP = 512
const TAGS_PER_GROUP = 200

export interface ImportOptions extends DistributionLocation {
  /** Whether tags that stand for something else here follow the source; otherwise they stay. */
  readonly isUpdatingTags: boolean
}

/** What an import works with. */
export interface ImportDependencies extends ManifestDependencies {
  /** The largest manifest that is taken, in bytes. */
  readonly maxManifestBytes: number
  /** Where a registry of CNCF distribution keeps everything, as its configuration in a file says. */
  readonly readStorage: (file: string) => DistributionStorage
}

/** Why a file was refused, in the words of a report; undefined for what was deleted at the source. */
export const REASONS: Readonly<Record<RefusedFile['kind'], SkipReason | undefined>> = {
  forgotten: undefined,
  unnamed: 'link-unreadable',
  absent: 'content-missing',
  damaged: 'content-damaged',
  unreadable: 'content-unreadable',
}

/**
 * Takes over what CNCF distribution has stored: repository by repository, first blobs, then manifests from the bottom up,
 * then tags, so that whatever is there can be pulled when the import is cut off. What is there already is passed over.
 * @throws when there is no registry, and when the import is aborted or cannot be written.
 */
export async function importDistribution(
  dependencies: ImportDependencies,
  options: ImportOptions & { readonly signal: AbortSignal },
  tell: Listener<ImportCounts>,
): Promise<void> {
  const origin = await openDistribution(options, dependencies.readStorage)
  const report = new Report(new ImportCounts(), tell)
  const step = new RepositoryImport(dependencies, origin, { report, options })
  await report.during(async () => {
    await inLanes(origin.repositories(), REPOSITORY_LANES, async (repository) => step.import(repository))
  })
}

class RepositoryImport {
  readonly #dependencies: ImportDependencies
  readonly #origin: DistributionSource
  readonly #report: Report<ImportCounts>
  readonly #isUpdatingTags: boolean
  readonly #signal: AbortSignal

  constructor(
    dependencies: ImportDependencies,
    origin: DistributionSource,
    { report, options }: { report: Report<ImportCounts>; options: ImportOptions & { readonly signal: AbortSignal } },
  ) {
    this.#dependencies = dependencies
    this.#origin = origin
    this.#report = report
    this.#isUpdatingTags = options.isUpdatingTags
    this.#signal = options.signal
  }

  async import(repository: SourceRepository): Promise<void> {
    if (!(await isNameAllowed(repository.name, this.#report))) return
    this.#report.counts.repositories++
    await inLanes(inGroups(this.#origin.layers(repository), BLOBS_PER_GROUP), BLOB_LANES, async (digests) =>
      this.#importBlobs(repository, digests),
    )
    await this.#importManifests(repository)
    for await (const tags of inGroups(this.#origin.tags(repository), TAGS_PER_GROUP)) {
      await this.#importTags(repository, tags)
    }
  }

  async #importBlobs(repository: SourceRepository, digests: readonly string[]): Promise<void> {
    this.#signal.throwIfAborted()
    const files: AdoptableFile[] = []
    for (const digest of digests) {
      if (isDigest(digest)) {
        const namedIn = this.#origin.layerLink(repository, digest)
        files.push({ digest, namedIn, source: this.#origin.content(digest) })
      } else {
        const message = 'this is not a digest that can be verified'
        await this.#report.skip({ reason: 'name-not-allowed', repository: repository.name, digest, message })
      }
    }
    const adoption = await importBlobs(this.#dependencies, repository.name, files, this.#origin.files)
    this.#report.counts.blobs += adoption.linked + adoption.copied + adoption.present
    await this.#count(repository, adoption)
  }

  async #importManifests(repository: SourceRepository): Promise<void> {
    const manifests = new SourceManifests(this.#origin, repository, {
      maxBytes: this.#dependencies.maxManifestBytes,
      skip: async (skipped) => this.#report.skip(skipped),
    })
    const isWanted = async (digests: readonly Digest[]) => {
      const imported = await findImported(this.#dependencies, repository.name, digests)
      this.#report.counts.manifests += imported.size
      return new Set(digests).difference(imported)
    }
    for await (const group of manifests.inOrder(isWanted)) {
      this.#signal.throwIfAborted()
      const { adoption, imported, refused } = await importManifests(
        this.#dependencies,
        repository.name,
        group,
        this.#origin.files,
      )
      this.#report.counts.manifests += imported
      await this.#count(repository, adoption)
      for (const { digest, message } of refused) {
        await this.#report.skip({ reason: 'manifest-refused', repository: repository.name, digest, message })
      }
    }
  }

  async #importTags(repository: SourceRepository, names: readonly string[]): Promise<void> {
    this.#signal.throwIfAborted()
    const tags = await readTags(this.#origin, repository, { names, report: this.#report })
    const outcomes = await importTags(this.#dependencies, repository.name, {
      tags,
      isUpdating: this.#isUpdatingTags,
    })
    for (const [tag, outcome] of outcomes) {
      const where = { repository: repository.name, tag, digest: tags.get(tag) ?? '' }
      if (outcome === 'unknown') {
        const message = 'the tag stands for a manifest that is not there'
        await this.#report.skip({ reason: 'tag-without-manifest', ...where, message })
      } else if (outcome === 'kept') {
        const message = 'the tag stands for something else here, and stays so: --update-tags lets it follow'
        await this.#report.skip({ reason: 'tag-differs', ...where, message })
      } else this.#report.counts.tags++
    }
  }

  async #count({ name }: SourceRepository, adoption: Adoption): Promise<void> {
    const { counts } = this.#report
    counts.linked += adoption.linked
    counts.copied += adoption.copied
    counts.present += adoption.present
    counts.bytes += adoption.bytes
    for (const { kind, digest, message } of adoption.refused) {
      const reason = REASONS[kind]
      if (reason !== undefined) await this.#report.skip({ reason, repository: name, digest, message })
    }
  }
}

/** Whether a repository of that name may be here; otherwise it is told. */
export async function isNameAllowed(name: string, report: Report<ImportCounts>): Promise<boolean> {
  try {
    parseRepositoryName(name)
    return true
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    await report.skip({ reason: 'name-not-allowed', repository: name, message: error.message })
    return false
  }
}

/** What tags stand for at the source; what cannot be read is told. */
export async function readTags(
  origin: DistributionSource,
  repository: SourceRepository,
  { names, report }: { names: readonly string[]; report: Report<ImportCounts> },
): Promise<Map<string, Digest>> {
  const tags = new Map<string, Digest>()
  for (const tag of names) {
    const where = { repository: repository.name, tag }
    if (!isTag(tag)) {
      await report.skip({ reason: 'name-not-allowed', ...where, message: 'this is not a tag' })
      continue
    }
    const digest = await origin.readTag(repository, tag).catch((error: unknown) => String(error))
    // Distribution leaves the folder of a tag that was deleted.
    if (digest === undefined) continue
    if (isDigest(digest)) tags.set(tag, digest)
    else await report.skip({ reason: 'link-unreadable', ...where, message: 'the link of the tag says no digest' })
  }
  return tags
}
