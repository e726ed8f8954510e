import {
  type Digest,
  isDigest,
  isForeignLayerType,
  isTag,
  parseManifest,
  parseRepositoryName,
  RegistryError,
} from '@entrepot/oci'
import type { Uploads } from '#core/blobs'
import { findRepositoryId } from '#core/repositories'
import { pushManifest } from '#formats/oci'
import { type ArchivedImages, type ArchivedRoot, readDockerArchive, readLayout } from './archived-images.ts'
import type { ImportDependencies } from './distribution-import.ts'
import { type Listener, Report } from './events.ts'
import { openArchive, readWhole } from './image-archive.ts'
import { ImportCounts } from './import-counts.ts'

/** The forms that images come in. */
export type ArchiveForm = 'oci-layout' | 'docker-archive'

export interface ImageImportOptions {
  readonly form: ArchiveForm
  /** A folder or a tar archive, as an absolute path. */
  readonly source: string
  /** `name` or `name:tag`; undefined for what the archive says. */
  readonly as: string | undefined
}

export interface ImageImportDependencies extends ImportDependencies {
  readonly uploads: Uploads
}

interface Target {
  readonly repository: string
  readonly tags: readonly string[]
}

/**
 * Pushes the images of an archive, byte for byte, under the rules of any push; tags follow.
 * @throws when the archive cannot be read, or says no name and none is given.
 */
export async function importImages(
  dependencies: ImageImportDependencies,
  options: ImageImportOptions & { readonly signal: AbortSignal },
  tell: Listener<ImportCounts>,
): Promise<void> {
  const archive = await openArchive(options.source)
  try {
    const images = await (options.form === 'oci-layout' ? readLayout(archive) : readDockerArchive(archive))
    const targets = images.roots.flatMap((root) =>
      targetsOf(root, images.roots.length, options.as).map((target) => ({ root, target })),
    )
    const report = new Report(new ImportCounts(), tell)
    report.counts.repositories = new Set(targets.map(({ target }) => target.repository)).size
    await report.during(async () => {
      for (const { root, target } of targets) {
        const push = new ImagePush(dependencies, images, {
          repository: target.repository,
          report,
          signal: options.signal,
        })
        try {
          await push.push(root, target.tags)
        } catch (error) {
          if (!(error instanceof RegistryError)) throw error
          const reason = error.code === 'DIGEST_INVALID' ? 'content-damaged' : 'manifest-refused'
          await report.skip({ reason, repository: target.repository, digest: root.digest, message: error.message })
        }
      }
    })
  } finally {
    await archive.close()
  }
}

/** Pushes what a manifest needs, and then the manifest. */
class ImagePush {
  readonly #dependencies: ImageImportDependencies
  readonly #images: ArchivedImages
  readonly #repository: string
  readonly #report: Report<ImportCounts>
  readonly #signal: AbortSignal
  readonly #done = new Set<Digest>()

  constructor(
    dependencies: ImageImportDependencies,
    images: ArchivedImages,
    { repository, report, signal }: { repository: string; report: Report<ImportCounts>; signal: AbortSignal },
  ) {
    this.#dependencies = dependencies
    this.#images = images
    this.#repository = repository
    this.#report = report
    this.#signal = signal
  }

  async push({ digest, mediaType }: Omit<ArchivedRoot, 'names'>, tags: readonly string[]): Promise<void> {
    const file = await this.#images.find(digest)
    if (file === undefined) throw new RegistryError('MANIFEST_UNKNOWN', `the archive has no manifest ${digest}`)
    const bytes = await readWhole(file, this.#dependencies.maxManifestBytes)
    if (bytes === undefined) throw new RegistryError('MANIFEST_INVALID', `the manifest ${digest} is too large`)
    const manifest = parseManifest(bytes, mediaType)
    const children = manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers]
    for (const child of children) {
      // What the archive lacks may be in the repository, or be allowed to be elsewhere: the push decides.
      if (!isDigest(child.digest) || this.#done.has(child.digest)) continue
      if ((await this.#images.find(child.digest)) === undefined) continue
      if (manifest.kind === 'index' && isManifestType(child.mediaType))
        await this.push({ digest: child.digest, mediaType: child.mediaType }, [])
      else if (!isForeignLayerType(child.mediaType)) await this.#pushBlob(child.digest)
    }
    await pushManifest(this.#dependencies, {
      repository: this.#repository,
      reference: { digest },
      tags,
      contentType: mediaType,
      bytes,
      checkCurrent: () => {},
    })
    this.#done.add(digest)
    this.#report.counts.manifests++
    this.#report.counts.tags += tags.length
  }

  async #pushBlob(digest: Digest): Promise<void> {
    this.#signal.throwIfAborted()
    const { database, blobs, uploads } = this.#dependencies
    const { counts } = this.#report
    const repositoryId = await findRepositoryId(database.read, this.#repository)
    const file = await this.#images.find(digest)
    if (file === undefined) return
    if (repositoryId !== undefined && (await blobs.has(repositoryId, digest))) {
      await blobs.keep(repositoryId, digest)
      counts.present++
    } else {
      await uploads.receive(this.#repository, file.bytes(), digest)
      counts.copied++
      counts.bytes += file.sizeBytes
    }
    counts.blobs++
    this.#done.add(digest)
  }
}

function isManifestType(mediaType: string): boolean {
  return /^application\/vnd\.(?:oci\.image\.(?:manifest|index)\.v1|docker\.distribution\.manifest(?:\.list)?\.v2)\+json$/.test(
    mediaType,
  )
}

/** Where an image of an archive goes. @throws Error when nobody says */
function targetsOf({ digest, names }: ArchivedRoot, roots: number, as: string | undefined): Target[] {
  const known = names.map(splitName)
  if (as !== undefined) {
    const { repository = as, tag } = /[/:]/.test(as) ? splitName(as) : {}
    const tags = known.flatMap(({ tag }) => tag ?? [])
    return [{ repository: parseRepositoryName(repository), tags: tag !== undefined && roots === 1 ? [tag] : tags }]
  }
  const named = known.filter(({ repository }) => repository !== undefined)
  if (named.length === 0) {
    throw new Error(`the archive says no name for ${digest}: give one with --as <name>[:tag]`)
  }
  return [...Map.groupBy(named, ({ repository }) => repository ?? '')].map(([repository, group]) => ({
    repository: parseRepositoryName(repository),
    tags: group.flatMap(({ tag }) => tag ?? []),
  }))
}

/** `registry:5000/team/app:1.0` is `team/app` and `1.0`; what has neither slash nor colon is a tag. */
function splitName(text: string): { repository?: string; tag?: string } {
  const slash = text.indexOf('/')
  const host = slash < 0 ? '' : text.slice(0, slash)
  const isHost = host === 'localhost' || host.includes('.') || host.includes(':')
  const path = (isHost ? text.slice(slash + 1) : text).replace(/@.*$/, '')
  const colon = path.lastIndexOf(':')
  const tag = colon < 0 ? '' : path.slice(colon + 1)
  if (slash < 0 && colon < 0) return isTag(path) ? { tag: path } : {}
  return { repository: colon < 0 ? path : path.slice(0, colon), ...(isTag(tag) && { tag }) }
}
