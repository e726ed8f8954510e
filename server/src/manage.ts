import { createCommandLogger } from '#platform/log'
import { type DistributionLocation, type ImportCounts, type Listener, verifyDistribution } from '#transfer'
import type { Config } from './config/index.ts'
import type { Management, ManagementOptions } from './running.ts'
import { distributionStorage, manifestPolicy, socketPath } from './settings.ts'

export type { Management } from './running.ts'
export type { GarbageRun } from '#core/blobs'
export type { ForgottenTrash, Restored, TrashEntry, TrashPage } from '#formats/oci'
export type { ImportCounts, Skipped, TransferEvent } from '#transfer'
export type { Job, JobPage } from '#platform/jobs'
export type { GarbageAnswer, GarbageRunsAnswer, JobLinesAnswer } from '#management'

/** Where the server that works in the configured data folder answers commands. */
export function managementSocket(config: Config): string {
  return socketPath(config)
}

/**
 * Opens the data folder in this process, for operations while no server answers; it holds the folder's lock until it
 * ends, with metadata in PostgreSQL together with servers. What goes wrong is logged on standard error.
 * @throws when somebody works there who needs to be alone, and when there is no registry and none is to be made.
 */
export async function openManagement(config: Config, options: ManagementOptions): Promise<Management> {
  process.umask(0o077)
  const log = await createCommandLogger()
  // Where a server works in the folder, its modules are not needed here.
  const { createManagement } = await import('./app.ts')
  return createManagement(config, log, options)
}

/**
 * Tells what importing what CNCF distribution has stored would do under a configuration, and changes nothing.
 * @throws when there is no registry.
 */
export async function tryDistribution(
  config: Config,
  location: DistributionLocation,
  tell: Listener<ImportCounts>,
): Promise<void> {
  await verifyDistribution(
    {
      ...location,
      policy: manifestPolicy(config),
      maxManifestBytes: config.limits.manifestsize,
      readStorage: distributionStorage,
    },
    tell,
  )
}
