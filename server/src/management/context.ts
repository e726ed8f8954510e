import type { RouteOptions } from 'fastify'
import type { GarbageRuns } from '#core/blobs'

/** What the operations work with; each is a method of one of these, written without HTTP. */
export interface ManagementContext {
  readonly garbageRuns: GarbageRuns
  /** Whether nothing may be changed. */
  readonly isReadOnly: boolean
}

/** One operation; whoever reaches it may do everything: the socket's owner, or the process that holds the folder. */
export type ManagementRoute = (context: ManagementContext) => RouteOptions
