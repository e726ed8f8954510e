import {
  type BlobStore,
  type ContentTurns,
  GarbageCollector,
  GarbageRuns,
  GarbageSchedule,
  surveyGarbage,
} from '#core/blobs'
import type { Purging } from '#core/cdn'
import type { Instance } from '#core/instances'
import { createOciMaintenance, createOciUses, type InventoryKeeper, ociReferences } from '#formats/oci'
import type { Database } from '#platform/database'
import type { Metrics } from '#platform/http'
import type { Logger } from '#platform/log'
import type { Garbage } from '#management'
import type { Config } from './config/index.ts'
import { ociMaintenance } from './settings.ts'

/** What removes what nothing needs, and says what that is. */
export function createGarbage(
  config: Config,
  foundation: {
    metrics: Metrics
    log: Logger
    database: Database
    instance: Instance
    store: BlobStore
    /** By digest: content is either stored and made known, or removed. */
    contentTurns: ContentTurns
    purging: Purging | undefined
    inventory: InventoryKeeper | undefined
  },
): Garbage {
  const { database, instance, store, contentTurns, purging, inventory, metrics, log } = foundation
  const { garbagecollection, trash } = config.storage.maintenance
  const { age, interval, schedule, rate } = garbagecollection
  const beforeRun = createOciMaintenance(
    { database, purging, inventory, log: log.child({ module: 'trash' }) },
    ociMaintenance(config),
  )
  const runs = new GarbageRuns({
    collector: new GarbageCollector(
      { database, store, contentTurns, references: ociReferences, beforeRun },
      { ageMs: age, removalsPerSecond: rate },
    ),
    database,
    instance,
    log: log.child({ module: 'garbage-collection' }),
    onRun: (run) => metrics.observeGarbageCollection(run),
  })
  return {
    runs,
    schedule: new GarbageSchedule(runs, { intervalMs: interval, schedule }),
    survey: async (onReclaimable) => surveyGarbage({ database, uses: createOciUses(trash.age) }, age, onReclaimable),
  }
}
