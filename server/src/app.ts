import { join, resolve } from 'node:path'
import { createAccess, isAction } from '#core/access'
import {
  type BlobStore,
  ContentTurns,
  correctUnneededTimes,
  createBlobs,
  startUploadPurging,
  Uploads,
  UploadTurns,
} from '#core/blobs'
import type { Instance } from '#core/instances'
import {
  BlobReader,
  createLinks,
  correctOciTimes,
  foldRepositoryName,
  InventoryKeeper,
  type ManifestDependencies,
  ManifestReader,
  registerOci,
  repositoryOf,
  startInventorySweeps,
} from '#formats/oci'
import type { Purging } from '#core/cdn'
import { steadyNow } from '#platform/clock'
import type { Database } from '#platform/database'
import { Reserve, withReserve } from '#platform/disk'
import { createHealth, type Health } from '#platform/health'
import {
  ContentSender,
  createHttpServer,
  createMetrics,
  findKernelSend,
  type HttpServer,
  type Metrics,
  registerOperations,
} from '#platform/http'
import type { Logger } from '#platform/log'
import { type Garbage, listenOnSocket, registerManagement } from '#management'
import { Transfers } from '#transfer'
import { createCdnPurging, createJobs, startJobs } from './background.ts'
import type { Config } from './config/index.ts'
import { type ContentLinks, openContentStore } from './content-store.ts'
import { createDebugServer } from './debug-server.ts'
import { createDelivery } from './delivery.ts'
import { createGarbage } from './garbage.ts'
import { isWithoutMetadata, joinOthers, openMetadata, takeFolder } from './metadata.ts'
import { MIGRATIONS } from './migrations.ts'
import type { Management, ManagementOptions, Registry } from './running.ts'
import {
  accessOptions,
  contentPolicy,
  distributionStorage,
  healthChecks,
  httpServerOptions,
  managementServerOptions,
  manifestPolicy,
  ociLimits,
  socketPath,
} from './settings.ts'

/** Of what the right to push allows, asking for an upload and cancelling it store nothing. */
const STORING_METHODS = new Set(['POST', 'PUT', 'PATCH'])

/** How long a push waits for another one of the same content. */
const CONTENT_TURN_TIMEOUT_MS = 60_000

/**
 * Builds the whole server out of its modules: the only place that constructs, and that knows them all.
 * @throws what the database, the store or the TLS files throw when they cannot be used, and when blobs are there
 * without their database.
 */
export async function createRegistry(config: Config, version: string, log: Logger): Promise<Registry> {
  const metrics = createMetrics(version)
  const storage = await openStorage(config, { metrics, log })
  const { database, store, instance } = storage
  const health = createHealth(
    healthChecks(config, store),
    async () => {
      await database.check()
      if (store.syncFailure !== undefined) throw new Error('the disk fails', { cause: store.syncFailure })
    },
    log.child({ module: 'health' }),
  )
  const server = await createMainServer(config, { ...storage, metrics, health, log })
  const debugServer = await createDebugServer(config, { metrics, health, log })
  const managementServer = await createManagementServer(config, { ...storage, metrics, log })
  const stopMaintenance = startMaintenance(config, { ...storage, log })
  const stopJobs = startJobs(config, { database: storage.deletions, metrics, log })
  return {
    listen: async () => {
      await listenOnSocket(managementServer, socketPath(config), log.child({ module: 'management' }))
      try {
        await debugServer?.listen()
        return await server.listen()
      } catch (error) {
        // A listener that is open would keep the process from ending.
        await Promise.all([managementServer.drain(0), debugServer?.drain(0)])
        throw error
      }
    },
    close: async () => {
      health.drain()
      await storage.transfers.end()
      await stopJobs()
      await stopMaintenance()
      await server.drain(config.http.draintimeout)
      await debugServer?.drain(0)
      await managementServer.drain(0)
      health.stop()
      await instance.leave()
      await database.close()
    },
  }
}

/**
 * Opens a data folder for operations, without serving anybody.
 * @throws as `createRegistry` does, and when there is no registry in the folder and none is to be made.
 */
export async function createManagement(
  config: Config,
  log: Logger,
  { isCreating }: ManagementOptions,
): Promise<Management> {
  const folder = resolve(config.storage.filesystem.rootdirectory)
  if (!isCreating && (await isWithoutMetadata(config, folder, log))) {
    throw new Error(`there is no registry in the data folder ${folder}: set "storage.filesystem.rootdirectory"`)
  }
  const metrics = createMetrics('')
  const storage = await openStorage(config, { metrics, log })
  const { app } = await createManagementServer(config, { ...storage, metrics, log })
  return {
    request: async (method, url, body) => {
      const payload = body === undefined ? {} : { payload: body }
      const answer = await app.inject({ method, url, ...payload, payloadAsStream: true })
      return { status: answer.statusCode, body: answer.stream() }
    },
    close: async () => {
      await storage.transfers.end()
      await storage.garbage.runs.end()
      await app.close()
      await storage.instance.leave()
      await storage.database.close()
    },
  }
}

/** Takes the data folder for this process alone, and makes what works on its content. */
async function openStorage(config: Config, { metrics, log }: Pick<Foundation, 'metrics' | 'log'>): Promise<Storage> {
  const { folder, isShared } = await takeFolder(config)
  const reserve = await Reserve.open({
    file: join(folder, 'reserve'),
    // Where rows are elsewhere, what removes content writes nothing here.
    sizeBytes: isShared ? 0 : config.storage.maintenance.reserve,
    log: log.child({ module: 'disk' }),
    onChange: (state) => metrics.observeReserve(state),
  })
  const { store, place, links, ...said } = await openContentStore(config, folder, () => reserve.requireRoom())
  const content = { folder, place, isEmpty: async () => store.isEmpty() }
  // Who is to delete on a full disk must be able to start on it, too.
  const database = await reserve.spendOn(async () => openMetadata(config, content, log.child({ module: 'database' })))
  const instance = await joinOthers(database, log.child({ module: 'instances' }))
  const deletions = withReserve(database, reserve)
  await deletions.transaction(async (transaction) => {
    await correctUnneededTimes(transaction, steadyNow())
    await correctOciTimes(transaction, steadyNow())
  })
  const contentTurns = new ContentTurns(database, CONTENT_TURN_TIMEOUT_MS)
  const turns = new UploadTurns({ database, instance, store, log: log.child({ module: 'uploads' }) })
  const uploads = new Uploads({ database, deletions, store, contentTurns, turns, maxOpen: config.limits.uploads })
  const blobs = createBlobs({
    // All that it writes itself is that a blob which is read is not garbage yet: pulls go on when the disk is full.
    database: deletions,
    store,
    contentTurns,
    uploads,
    log: log.child({ module: 'blobs' }),
    policy: contentPolicy(config, () => metrics.observeDamage()),
  })
  const policy = manifestPolicy(config)
  const purging = createCdnPurging(config)
  const inventory =
    said.inventory &&
    new InventoryKeeper({ read: database.read, inventory: said.inventory, log: log.child({ module: 'inventory' }) })
  const collecting = { database: deletions, instance, store, contentTurns, purging, inventory }
  const garbage = createGarbage(config, { ...collecting, metrics, log })
  const moved = { folder, database, store, blobs, uploads, policy, inventory }
  return {
    ...moved,
    deletions,
    purging,
    contentLinks: links,
    instance,
    reserve,
    transfers: new Transfers({
      ...moved,
      manifests: new ManifestReader({ database, blobs }),
      blobsOfRepositories: new BlobReader({ database, blobs }),
      deletions,
      migrations: MIGRATIONS,
      maxManifestBytes: config.limits.manifestsize,
      readStorage: distributionStorage,
    }),
    garbage,
  }
}

interface Storage extends ManifestDependencies {
  readonly store: BlobStore
  /** The database for what makes room: on a full disk it has the reserve. */
  readonly deletions: Database
  readonly contentLinks: ContentLinks
  /** What tells a CDN of deletions. */
  readonly purging: Purging | undefined
  readonly instance: Instance
  readonly reserve: Reserve
  readonly uploads: Uploads
  readonly garbage: Garbage
  readonly transfers: Transfers
}

interface Foundation {
  readonly metrics: Metrics
  readonly health: Health
  readonly log: Logger
}

/**
 * Starts what keeps the reserve, and what removes abandoned uploads and garbage, unless nothing may be changed.
 * @returns ends it.
 */
function startMaintenance(config: Config, foundation: Pick<Foundation, 'log'> & Storage): () => Promise<void> {
  const { uploads, store, garbage, inventory, reserve, log } = foundation
  const { uploadpurging, garbagecollection, readonly } = config.storage.maintenance
  if (!readonly.enabled) reserve.keep()
  if (garbagecollection.enabled && !readonly.enabled) garbage.schedule.start()
  const stopPurging =
    uploadpurging.enabled && !readonly.enabled
      ? startUploadPurging(
          { uploads, store, log: log.child({ module: 'upload-purging' }) },
          { ageMs: uploadpurging.age, intervalMs: uploadpurging.interval, isDryRun: uploadpurging.dryrun },
        )
      : undefined
  const stopSweeps =
    inventory !== undefined && !readonly.enabled
      ? startInventorySweeps(inventory, log.child({ module: 'inventory' }))
      : undefined
  return async () => {
    stopPurging?.()
    await stopSweeps?.()
    garbage.schedule.end()
    await garbage.runs.end()
    await reserve.stop()
  }
}

/** The listener that clients use. */
async function createMainServer(config: Config, foundation: Foundation & Storage): Promise<HttpServer> {
  const { database, deletions, blobs, policy, purging, inventory, uploads, reserve, metrics, log } = foundation
  const access = createAccess(accessOptions(config))
  const prefix = config.http.prefix.replace(/\/+$/, '')
  const server = await createHttpServer(httpServerOptions(config), {
    log: log.child({ module: 'http' }),
    metrics,
    authorize: (right, request) => {
      if (!isAction(right)) throw new Error(`no rule knows the right "${right}"`)
      access.decide(right, repositoryOf(request.params))
      if (right === 'push' && STORING_METHODS.has(request.method)) reserve.requireRoom()
    },
    rewriteUrl: (url) => foldRepositoryName(url, prefix),
  })
  registerOperations(server.app, foundation, {
    metricsPath: '/metrics',
    metricsRight: 'metrics',
    isForOperators: false,
  })
  registerOci(server.app, prefix, {
    database,
    blobs,
    uploads,
    manifestReader: new ManifestReader({ database, blobs }),
    blobReader: new BlobReader({ database, blobs }),
    sender: new ContentSender({
      kernel: config.http.sendfile ? await findKernelSend() : undefined,
      idleTimeoutMs: config.limits.bodyidletimeout,
    }),
    access,
    policy,
    inventory,
    deletion: { database: deletions, hasTrash: config.storage.maintenance.trash.age > 0, purging, inventory },
    links: createLinks(prefix, config.http.relativeurls ? '' : (config.http.host ?? '').replace(/\/+$/, '')),
    limits: ociLimits(config),
    delivery: createDelivery(config, prefix, foundation.contentLinks),
  })
  return server
}

/** What carries out operations, for the socket in the data folder or for this process. */
async function createManagementServer(
  config: Config,
  foundation: Pick<Foundation, 'metrics' | 'log'> & Storage,
): Promise<HttpServer> {
  const { metrics, log } = foundation
  const server = await createHttpServer(managementServerOptions(config, socketPath(config)), {
    log: log.child({ module: 'management' }),
    metrics,
    authorize: () => {},
    rewriteUrl: (url) => url,
  })
  registerManagement(server.app, {
    ...foundation,
    manifests: foundation,
    jobs: createJobs(config, foundation.deletions),
    isReadOnly: config.storage.maintenance.readonly.enabled,
  })
  return server
}
