import type { Digest } from '@entrepot/oci'
import type { RepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import { findWithoutMembership, type Membership } from './garbage-rows.ts'

/** What formats need of blobs: the collector knows none of them. */
export interface BlobReferences {
  /** Those of the digests that something in the repository needs. */
  findNeeded(connection: Connection, repositoryId: RepositoryId, digests: readonly Digest[]): Promise<Set<Digest>>
  /** Those of the digests that are themselves something that a repository has, such as manifests. */
  findOwned(connection: Connection, digests: readonly Digest[]): Promise<Set<Digest>>
}

/** Who needs content, apart from each other. */
export interface BlobUses {
  /** What can be pulled. */
  readonly pulled: BlobReferences
  /** What was deleted, and can still be restored. */
  readonly resting: BlobReferences
}

/** The memberships that the question, asked once for each repository, does not give back. */
export async function membershipsWithout(
  memberships: readonly Membership[],
  ask: (repositoryId: RepositoryId, digests: readonly Digest[]) => Promise<Set<Digest>>,
): Promise<Membership[]> {
  const left: Membership[] = []
  for (const [repositoryId, ofRepository] of Map.groupBy(memberships, (membership) => membership.repositoryId)) {
    const found = await ask(
      repositoryId,
      ofRepository.map((membership) => membership.digest),
    )
    left.push(...ofRepository.filter((membership) => !found.has(membership.digest)))
  }
  return left
}

/** Those of the digests that no repository has, neither as a blob nor as anything else. */
export async function findUnowned(
  connection: Connection,
  references: BlobReferences,
  digests: readonly Digest[],
): Promise<Digest[]> {
  const withoutMembership = await findWithoutMembership(connection, digests)
  const owned = await references.findOwned(connection, withoutMembership)
  return withoutMembership.filter((digest) => !owned.has(digest))
}
