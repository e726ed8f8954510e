import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '@entrepot/oci'
import type { Database } from '#platform/database'
import { type BlobReferences, membershipsWithout } from './garbage-decisions.ts'
import { findUnneeded, listMemberships, listStoredUse, type Membership } from './garbage-rows.ts'

/** Rows looked at in one step; between steps others get their turn. */
const LOOK_SIZE = 500
const PAUSE_MS = 5

interface Amount {
  contents: number
  bytes: number
}

/** What nothing needs, at one time. */
export interface GarbageSurvey {
  /** What a run would remove now. */
  readonly reclaimable: Amount & { blobs: number }
  /** What will follow once it has not been needed for as long as the configuration asks. */
  readonly resting: Amount
}

/** How many repositories have content that they do not need, and in how many of them its time is over. */
interface Unneeded {
  memberships: number
  ripe: number
}

/**
 * Says, without changing anything, what a run of the collector would remove: it asks what the collector asks. While
 * pushes go on, the numbers are those of no single moment.
 * @param ageMs how long a blob that nothing needs stays.
 * @param onReclaimable gets each content that would be removed.
 */
export async function surveyGarbage(
  { database, references }: { database: Database; references: BlobReferences },
  ageMs: number,
  onReclaimable: (digest: Digest) => void,
): Promise<GarbageSurvey> {
  const unneeded = await findUnneededContents({ database, references }, ageMs)
  const reclaimable = { blobs: 0, contents: 0, bytes: 0 }
  const resting = { contents: 0, bytes: 0 }
  for (const { ripe } of unneeded.values()) reclaimable.blobs += ripe
  let after: Digest | undefined
  for (;;) {
    const page = await listStoredUse(database.read, after, LOOK_SIZE)
    const owned = await references.findOwned(
      database.read,
      page.map((content) => content.digest),
    )
    for (const { digest, sizeBytes, memberships } of page) {
      const { ripe, memberships: idle } = unneeded.get(digest) ?? { ripe: 0, memberships: 0 }
      if (owned.has(digest) || idle !== memberships) continue
      const amount = ripe === memberships ? reclaimable : resting
      amount.contents++
      amount.bytes += sizeBytes
      if (amount === reclaimable) onReclaimable(digest)
    }
    after = page.at(-1)?.digest
    if (page.length < LOOK_SIZE) return { reclaimable, resting }
    await sleep(PAUSE_MS)
  }
}

async function findUnneededContents(
  { database, references }: { database: Database; references: BlobReferences },
  ageMs: number,
): Promise<Map<Digest, Unneeded>> {
  const found = new Map<Digest, Unneeded>()
  const now = Date.now()
  let after: Membership | undefined
  for (;;) {
    const page = await listMemberships(database.read, after, LOOK_SIZE)
    const since = new Map<Membership['repositoryId'], Map<Digest, number>>()
    const idle = await membershipsWithout(page, async (repositoryId, digests) => {
      since.set(repositoryId, await findUnneeded(database.read, repositoryId, digests))
      return references.findNeeded(database.read, repositoryId, digests)
    })
    for (const { repositoryId, digest } of idle) {
      const content = found.get(digest) ?? { memberships: 0, ripe: 0 }
      content.memberships++
      if ((since.get(repositoryId)?.get(digest) ?? now) <= now - ageMs) content.ripe++
      found.set(digest, content)
    }
    after = page.at(-1)
    if (page.length < LOOK_SIZE) return found
    await sleep(PAUSE_MS)
  }
}
