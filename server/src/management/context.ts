import type { RouteOptions } from 'fastify'
import { type Digest, RegistryError } from '@entrepot/oci'
import type { GarbageRuns, GarbageSchedule, GarbageSurvey } from '#core/blobs'
import type { ManifestDependencies } from '#formats/oci'
import type { Database } from '#platform/database'
import type { Transfers } from '#transfer'
import type { Jobs } from '#platform/jobs'

/** What removes what nothing needs, and says what that is. */
export interface Garbage {
  readonly runs: GarbageRuns
  readonly schedule: GarbageSchedule
  /** What a run would remove now, and what later; each content that would be removed now is given to the function. */
  survey(onReclaimable: (digest: Digest) => void): Promise<GarbageSurvey>
}

/** What the operations work with; each is a method of one of these, written without HTTP. */
export interface ManagementContext {
  readonly garbage: Garbage
  readonly manifests: ManifestDependencies
  readonly transfers: Transfers
  /** The database for what makes room. */
  readonly deletions: Database
  readonly jobs: Jobs
  /** Whether nothing may be changed. */
  readonly isReadOnly: boolean
}

/** One operation; whoever reaches it may do everything: the socket's owner, or the process that holds the folder. */
export type ManagementRoute = (context: ManagementContext) => RouteOptions

/** @throws RegistryError UNSUPPORTED while nothing may be changed */
export function refuseReadOnly({ isReadOnly }: ManagementContext): void {
  if (!isReadOnly) return
  throw new RegistryError('UNSUPPORTED', 'nothing is changed while "storage.maintenance.readonly" is enabled')
}
