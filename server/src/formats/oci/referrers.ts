import { type Digest, isTag, OCI_IMAGE_INDEX, referrersTag } from '@entrepot/oci'
import { digestOf } from '#core/blobs'
import type { RepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import { findReferrers, findSubject, measureReferrers, type ReferrerRow, type ReferrersQuery } from './manifest-rows.ts'

/** A page is an index like any other, and no larger: clients refuse manifests of more than 4 MiB. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024

/** One page of the referrers of a manifest. */
export interface ReferrersPage {
  /** An image index (distribution-spec, "Listing Referrers"). */
  readonly json: string
  /** The digest after which the next page begins; undefined on the last. */
  readonly next: Digest | undefined
}

/**
 * Lists, in the order of digests, the manifests whose subject is this digest, which itself need not exist.
 * No more is read than a page holds, but for a single descriptor that is larger by itself.
 */
export async function listReferrers(
  connection: Connection,
  repositoryId: RepositoryId | undefined,
  query: ReferrersQuery,
): Promise<ReferrersPage> {
  const sizes =
    repositoryId === undefined
      ? []
      : await measureReferrers(connection, repositoryId, { ...query, limit: query.limit + 1 })
  const limit = countWithin(sizes.slice(0, query.limit), MAX_PAGE_BYTES)
  const rows =
    repositoryId === undefined || limit === 0 ? [] : await findReferrers(connection, repositoryId, { ...query, limit })
  const descriptors: string[] = []
  const beginning = `{"schemaVersion":2,"mediaType":"${OCI_IMAGE_INDEX}","manifests":[`
  const ending = ']}'
  let sizeBytes = beginning.length + ending.length
  for (const row of rows) {
    const descriptor = toDescriptor(row)
    sizeBytes += Buffer.byteLength(descriptor) + 1
    if (descriptors.length > 0 && sizeBytes > MAX_PAGE_BYTES) break
    descriptors.push(descriptor)
  }
  const json = beginning + descriptors.join(',') + ending
  return { json, next: descriptors.length < sizes.length ? rows[descriptors.length - 1]?.digest : undefined }
}

/** How many of the first sizes are together within a limit, but at least one. */
function countWithin(sizes: readonly number[], limitBytes: number): number {
  let sumBytes = 0
  const count = sizes.findIndex((sizeBytes) => (sumBytes += sizeBytes) > limitBytes)
  return count === -1 ? sizes.length : Math.max(count, 1)
}

/**
 * The referrers of a manifest as an index under a tag, for clients that know only the referrers tag schema
 * (distribution-spec, "Referrers Tag Schema"). An index that a client pushed under the tag takes precedence.
 * @returns undefined when the tag is not of that form or nothing refers to such a manifest.
 */
export async function referrersIndexForTag(
  connection: Connection,
  repositoryId: RepositoryId,
  tag: string,
): Promise<{ digest: Digest; mediaType: string; bytes: Buffer } | undefined> {
  const dash = tag.indexOf('-')
  const prefix = `${tag.slice(0, dash)}:${tag.slice(dash + 1)}`
  if (!isTag(tag) || !/^sha(?:256|512):[0-9a-f]{64}$/.test(prefix)) return undefined
  const subject = await findSubject(connection, repositoryId, prefix)
  if (subject === undefined || referrersTag(subject) !== tag) return undefined
  const page = await listReferrers(connection, repositoryId, {
    subject,
    artifactTypes: [],
    after: undefined,
    limit: 10_000,
  })
  const bytes = Buffer.from(page.json)
  return { digest: digestOf('sha256', bytes), mediaType: OCI_IMAGE_INDEX, bytes }
}

/** A descriptor as JSON; its annotations are taken in as they are stored, for they may be long. */
function toDescriptor({ mediaType, digest, sizeBytes, artifactType, annotations }: ReferrerRow): string {
  const json = JSON.stringify({ mediaType, digest, size: sizeBytes, artifactType })
  return annotations === undefined ? json : `${json.slice(0, -1)},"annotations":${annotations}}`
}
