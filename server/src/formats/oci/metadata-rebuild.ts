import { type Digest, parseManifest, RegistryError } from '@entrepot/oci'
import { findBlobSizes, findStoredSizes, insertBlobs, insertMemberships } from '#core/blobs'
import { type Finding, finding } from '#core/findings'
import type { InventoryEntry } from '#core/inventory'
import { ensureRepository, type RepositoryId } from '#core/repositories'
import type { Database, Transaction } from '#platform/database'
import { type CheckedChildren, checkChildren, childDigests, type ManifestPolicy } from './manifest-checks.ts'
import { findManifests } from './manifest-rows.ts'
import { recordManifest } from './manifests.ts'
import { putTags } from './tag-rows.ts'

/** Manifests that are read at once, and recorded in one transaction. */
const GROUP_SIZE = 16
/** What is larger is no manifest. */
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024

/** What a rebuild reads out of a store. */
export interface RebuildSource {
  /** Verified bytes; undefined where they are not there or not right. */
  read(digest: Digest, maxBytes: number): Promise<Buffer | undefined>
  /** The size of content in bytes; undefined where there is none. */
  size(digest: Digest): Promise<number | undefined>
  /** The entries of the inventory, repository by repository. */
  entries(): AsyncIterable<InventoryEntry>
}

/** How much was made again. */
export class RebuildCounts {
  repositories = 0
  manifests = 0
  tags = 0
  contents = 0
}

interface Repository {
  readonly name: string
  readonly manifests: Set<Digest>
  /** Of a tag with several entries the newest counts. */
  readonly tags: Map<string, InventoryEntry>
}

type ReadManifest = { readonly digest: Digest; readonly manifest: ReturnType<typeof parseManifest> }

/**
 * Makes the metadata of an empty database out of what a store says: repositories, manifests with what they need, and tags,
 * under the rules of a push. Content that no manifest needs gets no row, so that nothing removes it.
 * @returns what could not be made again.
 */
export class MetadataRebuild {
  readonly counts = new RebuildCounts()
  readonly #database: Database
  readonly #source: RebuildSource
  readonly #policy: ManifestPolicy

  constructor(dependencies: { database: Database; source: RebuildSource; policy: ManifestPolicy }) {
    this.#database = dependencies.database
    this.#source = dependencies.source
    this.#policy = dependencies.policy
  }

  async *run(): AsyncGenerator<Finding> {
    for await (const repository of repositoriesIn(this.#source.entries())) {
      yield* this.#manifests(repository)
      yield* this.#tags(repository)
      this.counts.repositories++
    }
  }

  async *#manifests({ name, manifests }: Repository): AsyncGenerator<Finding> {
    /** Indexes that are still to come, with what they list. */
    const pending = new Map<Digest, readonly Digest[]>()
    for (const group of groupsOf([...manifests])) {
      const images: ReadManifest[] = []
      for (const read of await this.#readAll(name, group)) {
        if ('kind' in read) yield read
        else if (read.manifest.kind === 'image') images.push(read)
        else pending.set(read.digest, childDigests(read.manifest))
      }
      yield* await this.#record(name, images)
    }
    while (pending.size > 0) {
      const ready = [...pending].filter(([, children]) => !children.some((child) => pending.has(child)))
      const next = ready.slice(0, GROUP_SIZE).map(([digest]) => digest)
      // Nothing can list itself, in however many steps: its digest would be known before its bytes.
      if (next.length === 0) return
      for (const digest of next) pending.delete(digest)
      const read = await this.#readAll(name, next)
      yield* await this.#record(
        name,
        read.filter((entry) => 'manifest' in entry),
      )
    }
  }

  async #readAll(repository: string, digests: readonly Digest[]): Promise<(ReadManifest | Finding)[]> {
    return Promise.all(
      digests.map(async (digest) => {
        const bytes = await this.#source.read(digest, MAX_MANIFEST_BYTES)
        if (bytes === undefined) {
          const message = 'this manifest is not in the store, or damaged there: push it again'
          return finding('content-missing', message, { digest, repository })
        }
        try {
          return { digest, manifest: parseManifest(bytes, undefined) }
        } catch (error) {
          return refused(error, { digest, repository })
        }
      }),
    )
  }

  /** Records manifests of which none lists another one. */
  async #record(repository: string, manifests: readonly ReadManifest[]): Promise<Finding[]> {
    if (manifests.length === 0) return []
    const needed = new Set(manifests.flatMap(({ digest, manifest }) => [digest, ...childDigests(manifest)]))
    const sizes = await this.#findNew([...needed])
    const outcome = await this.#database.transaction(async (transaction) => {
      await insertBlobs(transaction, sizes)
      const repositoryId = await ensureRepository(transaction, repository)
      const findings: Finding[] = []
      for (const read of manifests) {
        try {
          const children = await this.#giveChildren(transaction, repositoryId, read)
          const sizeBytes = (await findStoredSizes(transaction, [read.digest])).get(read.digest) ?? 0
          await recordManifest(transaction, repositoryId, { ...read, sizeBytes, children, tags: [] })
        } catch (error) {
          findings.push(refused(error, { digest: read.digest, repository }))
        }
      }
      return findings
    })
    this.counts.contents += sizes.size
    this.counts.manifests += manifests.length - outcome.length
    return outcome
  }

  /** The sizes of what has no row yet, and is in the store. */
  async #findNew(digests: readonly Digest[]): Promise<Map<Digest, number>> {
    const known = await findStoredSizes(this.#database.read, digests)
    const found = new Map<Digest, number>()
    for (const group of groupsOf(digests.filter((digest) => !known.has(digest)))) {
      const sizes = await Promise.all(group.map(async (digest) => this.#source.size(digest)))
      for (const [index, digest] of group.entries()) {
        const sizeBytes = sizes[index]
        if (sizeBytes !== undefined) found.set(digest, sizeBytes)
      }
    }
    return found
  }

  async #giveChildren(
    transaction: Transaction,
    repositoryId: RepositoryId,
    { manifest }: ReadManifest,
  ): Promise<CheckedChildren> {
    const digests = childDigests(manifest)
    const stored = await findStoredSizes(transaction, digests)
    const manifests: ReadonlyMap<Digest, unknown> =
      manifest.kind === 'index' ? await findManifests(transaction, repositoryId, digests) : new Map()
    await insertMemberships(
      transaction,
      repositoryId,
      digests.filter((digest) => stored.has(digest) && !manifests.has(digest)),
    )
    const where = { connection: transaction, blobs: { sizes: findBlobSizes }, repositoryId }
    return checkChildren(where, manifest, this.#policy)
  }

  async *#tags({ name, tags }: Repository): AsyncGenerator<Finding> {
    const unknown = await this.#database.transaction(async (transaction) => {
      const repositoryId = await ensureRepository(transaction, name)
      const digests = [...new Set([...tags.values()].map(({ digest }) => digest))]
      const manifests: ReadonlyMap<Digest, unknown> = await findManifests(transaction, repositoryId, digests)
      for (const [tag, { digest }] of tags) {
        if (manifests.has(digest)) await putTags(transaction, repositoryId, [tag], digest)
      }
      return [...tags.values()].filter(({ digest }) => !manifests.has(digest))
    })
    this.counts.tags += tags.size - unknown.length
    for (const { tag, digest } of unknown) {
      const message = `the tag ${JSON.stringify(tag)} stands for this manifest, which could not be made again: push it again`
      yield finding('child-missing', message, { digest, repository: name })
    }
  }
}

function refused(error: unknown, where: { digest: Digest; repository: string }): Finding {
  if (!(error instanceof RegistryError)) throw error
  return finding('child-missing', `this manifest could not be made again (${error.message}): push it again`, where)
}

async function* repositoriesIn(entries: AsyncIterable<InventoryEntry>): AsyncGenerator<Repository> {
  let current: Repository | undefined
  for await (const entry of entries) {
    if (current !== undefined && current.name !== entry.repository) yield current
    if (current?.name !== entry.repository) {
      current = { name: entry.repository, manifests: new Set(), tags: new Map() }
    }
    const { digest, tag } = entry
    if (tag === undefined) current.manifests.add(digest)
    else if ((current.tags.get(tag)?.modifiedAt ?? 0) <= entry.modifiedAt) current.tags.set(tag, entry)
  }
  if (current !== undefined) yield current
}

function* groupsOf<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let start = 0; start < items.length; start += GROUP_SIZE) yield items.slice(start, start + GROUP_SIZE)
}
