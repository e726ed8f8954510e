import { MANIFESTS, type SequenceManifest } from './sequence-content.ts'

/** What a registry may know of a blob. */
export type Presence = 'there' | 'absent' | 'either'

/** How a registry keeps what nothing needs. */
export interface Keeping {
  /** Whether the collector may take a blob that nothing needs at any moment. */
  readonly isEager: boolean
  /** Whether what is deleted can be restored. */
  readonly hasTrash: boolean
}

interface DeletedTag {
  readonly name: string
  readonly digest: string
  readonly wentWithManifest: boolean
}

/** What comes back. */
export interface Restoration {
  readonly status: 200 | 400 | 404 | 409
  readonly manifests: readonly string[]
  readonly tags: readonly string[]
  readonly takenTags: readonly string[]
}

const refusal = (status: 400 | 404 | 409): Restoration => ({ status, manifests: [], tags: [], takenTags: [] })

/** What a repository has, as far as the answers so far say. */
export class RepositoryModel {
  readonly name: string
  readonly #keeping: Keeping
  readonly #blobs = new Set<string>()
  readonly #manifests = new Map<string, SequenceManifest>()
  readonly #tags = new Map<string, string>()
  readonly #deletedManifests = new Map<string, SequenceManifest>()
  /** In the order in which they were deleted. */
  #deletedTags: readonly DeletedTag[] = []
  #isKnown = false
  #isPublished = false

  constructor(name: string, keeping: Keeping) {
    this.name = name
    this.#keeping = keeping
  }

  /** Whether anything was ever pushed here. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  /** Whether the catalogue lists it. */
  get isPublished(): boolean {
    return this.#isPublished
  }

  /** In the order of lists: that of their bytes. */
  get tags(): readonly string[] {
    return [...this.#tags.keys()].toSorted()
  }

  /** In the order in which they were pushed. */
  get manifests(): readonly SequenceManifest[] {
    return [...this.#manifests.values()]
  }

  /** In the order in which they were deleted. */
  get deletedManifests(): readonly SequenceManifest[] {
    return [...this.#deletedManifests.values()]
  }

  /** In the order in which they were deleted. */
  get deletedTags(): readonly string[] {
    return this.#deletedTags.map((tag) => tag.name)
  }

  begin(): void {
    this.#isKnown = true
  }

  addBlob(digest: string): void {
    this.#isKnown = true
    this.#blobs.add(digest)
  }

  removeBlob(digest: string): void {
    this.#blobs.delete(digest)
  }

  presenceOf(digest: string): Presence {
    if (!this.#blobs.has(digest)) return 'absent'
    return this.#keeping.isEager && !this.isNeeded(digest) && !this.#isNeededByDeleted(digest) ? 'either' : 'there'
  }

  #isNeededByDeleted(digest: string): boolean {
    return [...this.#deletedManifests.values()].some((manifest) => manifest.blobs.includes(digest))
  }

  /** Whether a manifest needs the blob or manifest. */
  isNeeded(digest: string): boolean {
    return [...this.#manifests.values()].some(
      (manifest) => manifest.blobs.includes(digest) || manifest.manifests.includes(digest),
    )
  }

  /** Whether all that the manifest needs is here. */
  presenceOfChildren(manifest: SequenceManifest): Presence {
    if (manifest.manifests.some((digest) => !this.#manifests.has(digest))) return 'absent'
    const presences = manifest.blobs.map((digest) => this.presenceOf(digest))
    if (presences.includes('absent')) return 'absent'
    return presences.includes('either') ? 'either' : 'there'
  }

  addManifest(manifest: SequenceManifest, tags: readonly string[]): void {
    this.#isKnown = true
    this.#isPublished = true
    this.#manifests.set(manifest.digest, manifest)
    this.#deletedManifests.delete(manifest.digest)
    for (const tag of tags) this.#setTag(tag, manifest.digest)
  }

  /** A tag that is there again does not rest. */
  #setTag(name: string, digest: string): void {
    this.#tags.set(name, digest)
    this.#deletedTags = this.#deletedTags.filter((tag) => tag.name !== name || tag.digest !== digest)
  }

  hasManifest(digest: string): boolean {
    return this.#manifests.has(digest)
  }

  removeManifest(digest: string): void {
    const manifest = this.#manifests.get(digest)
    if (manifest !== undefined && this.#keeping.hasTrash) this.#deletedManifests.set(digest, manifest)
    this.#manifests.delete(digest)
    for (const [tag, tagged] of this.#tags) if (tagged === digest) this.#removeTag(tag, true)
  }

  taggedWith(tag: string): SequenceManifest | undefined {
    return this.#manifests.get(this.#tags.get(tag) ?? '')
  }

  /** @returns whether there was such a tag. */
  removeTag(tag: string): boolean {
    return this.#removeTag(tag, false)
  }

  #removeTag(name: string, wentWithManifest: boolean): boolean {
    const digest = this.#tags.get(name)
    if (digest === undefined) return false
    if (this.#keeping.hasTrash) this.#deletedTags = [...this.#deletedTags, { name, digest, wentWithManifest }]
    return this.#tags.delete(name)
  }

  /** Restores a manifest, with the deleted ones that it lists and the tags that went with it. */
  restoreManifest(digest: string): Restoration {
    if (!this.#deletedManifests.has(digest)) return refusal(404)
    const manifests = this.#restoreManifests(digest)
    if (manifests === undefined) return refusal(400)
    const names = this.#deletedTags
      .filter((tag) => tag.digest === digest && tag.wentWithManifest)
      .map(({ name }) => name)
    const takenTags = names.filter((name) => this.#tags.has(name)).toSorted()
    const tags = names.filter((name) => !this.#tags.has(name)).toSorted()
    for (const name of tags) this.#setTag(name, digest)
    return { status: 200, manifests, tags, takenTags }
  }

  /** Restores the tag of that name that was deleted last. */
  restoreTag(name: string, asName: string): Restoration {
    const deleted = this.#deletedTags.findLast((tag) => tag.name === name)
    if (deleted === undefined) return refusal(404)
    const { digest } = deleted
    if (!this.#canRestore(digest)) return refusal(400)
    if (this.#tags.has(asName) && this.#tags.get(asName) !== digest) return refusal(409)
    const manifests = this.#restoreManifests(digest) ?? []
    this.#deletedTags = this.#deletedTags.filter((tag) => tag !== deleted)
    this.#setTag(asName, digest)
    return { status: 200, manifests, tags: [asName], takenTags: [] }
  }

  /** Whether all that the manifest needs is there or rests. */
  #canRestore(digest: string): boolean {
    const manifest = this.#deletedManifests.get(digest)
    if (manifest === undefined) return this.#manifests.has(digest)
    return (
      manifest.blobs.every((blob) => this.presenceOf(blob) === 'there') &&
      manifest.manifests.every((child) => this.#canRestore(child))
    )
  }

  #restoreManifests(digest: string): readonly string[] | undefined {
    if (!this.#canRestore(digest)) return undefined
    const manifest = this.#deletedManifests.get(digest)
    if (manifest === undefined) return []
    const children = manifest.manifests.flatMap((child) => this.#restoreManifests(child) ?? [])
    this.#deletedManifests.delete(digest)
    this.#manifests.set(digest, manifest)
    return [...children, digest]
  }

  /** In the order of lists: that of their digests. */
  referrersOf(subject: string, artifactType: string | undefined): readonly SequenceManifest[] {
    return MANIFESTS.filter(
      (manifest) =>
        this.#manifests.has(manifest.digest) &&
        manifest.subject === subject &&
        (artifactType === undefined || manifest.artifactType === artifactType),
    ).toSorted((one, other) => (one.digest < other.digest ? -1 : 1))
  }
}
