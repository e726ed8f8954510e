import { resolve } from 'node:path'
import { createLogger } from '#platform/log'
import { socketIn } from '#management'
import type { Management } from './app.ts'
import type { Config } from './config/index.ts'

export type { Management } from './app.ts'
export type { GarbageRun } from '#core/blobs'
export type { ForgottenTrash, Restored, TrashEntry, TrashPage } from '#formats/oci'
export type { GarbageAnswer, GarbageRunsAnswer } from '#management'

/** Where the server that works in the configured data folder answers commands. */
export function managementSocket(config: Config): string {
  return socketIn(resolve(config.storage.filesystem.rootdirectory))
}

/**
 * Opens the data folder in this process, for operations while no server works there; it holds the folder's lock until it
 * ends. What goes wrong is logged on standard error.
 * @throws when a server works there, and when there is no registry.
 */
export async function openManagement(config: Config): Promise<Management> {
  process.umask(0o077)
  const log = await createLogger({ level: 'warn', formatter: 'text', fields: {}, isForCommand: true })
  // Where a server works in the folder, its modules are not needed here.
  const { createManagement } = await import('./app.ts')
  return createManagement(config, log)
}
