import { MANIFESTS, type SequenceManifest } from './sequence-content.ts'

/** What a registry may know of a blob. */
export type Presence = 'there' | 'absent' | 'either'

/** What a repository has, as far as the answers so far say. */
export class RepositoryModel {
  readonly name: string
  /** Whether the collector may take a blob that nothing needs at any moment. */
  readonly #isEager: boolean
  readonly #blobs = new Set<string>()
  readonly #manifests = new Map<string, SequenceManifest>()
  readonly #tags = new Map<string, string>()
  #isKnown = false
  #isPublished = false

  constructor(name: string, isEager: boolean) {
    this.name = name
    this.#isEager = isEager
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
    return this.#isEager && !this.isNeeded(digest) ? 'either' : 'there'
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
    for (const tag of tags) this.#tags.set(tag, manifest.digest)
  }

  hasManifest(digest: string): boolean {
    return this.#manifests.has(digest)
  }

  removeManifest(digest: string): void {
    this.#manifests.delete(digest)
    for (const [tag, tagged] of this.#tags) if (tagged === digest) this.#tags.delete(tag)
  }

  taggedWith(tag: string): SequenceManifest | undefined {
    return this.#manifests.get(this.#tags.get(tag) ?? '')
  }

  /** @returns whether there was such a tag. */
  removeTag(tag: string): boolean {
    return this.#tags.delete(tag)
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
