import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '@entrepot/oci'
import { steadyNow } from '#platform/clock'
import type { Database } from '#platform/database'
import { type BlobUses, membershipsWithout } from './garbage-decisions.ts'
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
  /** What only deleted manifests that can still be restored need, and are. */
  readonly trash: Amount
}

/** Of the repositories that have content and can pull nothing that needs it: how many, and for what in how many. */
interface Unneeded {
  memberships: number
  /** In these a deleted manifest that rests needs it. */
  trashed: number
  /** In these its time is over. */
  ripe: number
}

const NEVER: Unneeded = { memberships: 0, trashed: 0, ripe: 0 }

/**
 * Says, without changing anything, what a run of the collector would remove: it asks what the collector asks. While
 * pushes go on, the numbers are those of no single moment. What a rule for manifests without a tag would delete first
 * counts as needed.
 * @param ageMs how long a blob that nothing needs stays.
 * @param onReclaimable gets each content that would be removed.
 */
export async function surveyGarbage(
  { database, uses }: { database: Database; uses: BlobUses },
  ageMs: number,
  onReclaimable: (digest: Digest) => void,
): Promise<GarbageSurvey> {
  const unneeded = await findUnneededContents({ database, uses }, ageMs)
  const survey = {
    reclaimable: { blobs: 0, contents: 0, bytes: 0 },
    resting: { contents: 0, bytes: 0 },
    trash: { contents: 0, bytes: 0 },
  }
  for (const { ripe } of unneeded.values()) survey.reclaimable.blobs += ripe
  let after: Digest | undefined
  for (;;) {
    const page = await listStoredUse(database.read, after, LOOK_SIZE)
    const digests = page.map((content) => content.digest)
    const pulled = await uses.pulled.findOwned(database.read, digests)
    const trashed = await uses.resting.findOwned(database.read, digests)
    for (const { digest, sizeBytes, memberships } of page) {
      const idle = unneeded.get(digest) ?? NEVER
      if (pulled.has(digest) || idle.memberships !== memberships) continue
      const amount = survey[trashed.has(digest) ? 'trash' : fateOf(idle)]
      amount.contents++
      amount.bytes += sizeBytes
      if (amount === survey.reclaimable) onReclaimable(digest)
    }
    after = page.at(-1)?.digest
    if (page.length < LOOK_SIZE) return survey
    await sleep(PAUSE_MS)
  }
}

/** The repository that gives content up last decides. */
function fateOf({ memberships, trashed, ripe }: Unneeded): keyof GarbageSurvey {
  if (trashed > 0) return 'trash'
  return ripe === memberships ? 'reclaimable' : 'resting'
}

async function findUnneededContents(
  { database, uses }: { database: Database; uses: BlobUses },
  ageMs: number,
): Promise<Map<Digest, Unneeded>> {
  const found = new Map<Digest, Unneeded>()
  const now = steadyNow()
  let after: Membership | undefined
  for (;;) {
    const page = await listMemberships(database.read, after, LOOK_SIZE)
    const idle = await membershipsWithout(page, async (repositoryId, digests) =>
      uses.pulled.findNeeded(database.read, repositoryId, digests),
    )
    for (const [repositoryId, ofRepository] of Map.groupBy(idle, (membership) => membership.repositoryId)) {
      const digests = ofRepository.map((membership) => membership.digest)
      const trashed = await uses.resting.findNeeded(database.read, repositoryId, digests)
      const since = await findUnneeded(database.read, repositoryId, digests)
      for (const digest of digests) {
        const content = found.get(digest) ?? { ...NEVER }
        content.memberships++
        if (trashed.has(digest)) content.trashed++
        else if ((since.get(digest) ?? now) <= now - ageMs) content.ripe++
        found.set(digest, content)
      }
    }
    after = page.at(-1)
    if (page.length < LOOK_SIZE) return found
    await sleep(PAUSE_MS)
  }
}
