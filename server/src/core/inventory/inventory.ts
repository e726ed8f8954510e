import type { Digest } from '@entrepot/oci'

/** A manifest of a repository, or a tag that stands for one. */
export interface InventoryEntry {
  readonly repository: string
  readonly digest: Digest
  /** Undefined for the manifest itself. */
  readonly tag: string | undefined
  /** When it was written, in milliseconds since 1970. */
  readonly modifiedAt: number
}

/** Which manifests and tags repositories have, kept where content is. */
export interface Inventory {
  /** Says, durably, whether a repository has a manifest. */
  setManifest(repository: string, digest: Digest, isThere: boolean): Promise<void>
  /** Says, durably, what a tag of a repository stands for; undefined for a tag that is not there. */
  setTag(repository: string, tag: string, digest: Digest | undefined): Promise<void>
  /**
   * All entries, those of one repository one after the other; of a tag there may be several for a moment, of which the
   * newest counts.
   * @param repository undefined for those of all repositories.
   */
  entries(repository?: string): AsyncIterable<InventoryEntry>
}
