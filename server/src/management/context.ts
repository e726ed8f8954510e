import type { RouteOptions } from 'fastify'
import { RegistryError } from '@entrepot/oci'
import type { GarbageRuns } from '#core/blobs'
import type { ManifestDependencies } from '#formats/oci'

/** What the operations work with; each is a method of one of these, written without HTTP. */
export interface ManagementContext {
  readonly garbageRuns: GarbageRuns
  readonly manifests: ManifestDependencies
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
