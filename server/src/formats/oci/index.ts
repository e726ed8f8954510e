/**
 * The OCI distribution API and Docker's registry API version 2, under `/v2/`.
 * It may use the core and the platform; it never uses another format or a feature. Each endpoint is one file in
 * `routes/`; what they do is in `manifests.ts`, `manifest-reader.ts`, `referrers.ts` and `repository-blobs.ts`, without
 * HTTP.
 */
import type { FastifyInstance } from 'fastify'
import { steadyNow } from '#platform/clock'
import type { BlobReferences, BlobUses } from '#core/blobs'
import type { OciContext, OciRoute } from './context.ts'
import { findManifestDigests, findNeededChildren } from './manifest-rows.ts'
import { deleteBlob } from './routes/delete-blob.ts'
import { deleteManifest } from './routes/delete-manifest.ts'
import { deleteUpload } from './routes/delete-upload.ts'
import { getBase } from './routes/get-base.ts'
import { getBlob } from './routes/get-blob.ts'
import { getCdnBlob } from './routes/get-cdn-blob.ts'
import { getExtensions, getRepositoryExtensions } from './routes/get-extensions.ts'
import { getManifest } from './routes/get-manifest.ts'
import { getReferrers } from './routes/get-referrers.ts'
import { getUpload } from './routes/get-upload.ts'
import { listRepositories } from './routes/list-repositories.ts'
import { listTags } from './routes/list-tags.ts'
import { patchUpload } from './routes/patch-upload.ts'
import { putManifest } from './routes/put-manifest.ts'
import { putUpload } from './routes/put-upload.ts'
import { startUpload } from './routes/start-upload.ts'
import { findChildrenOfDeleted, findDeletedDigests } from './trash-needs-rows.ts'

export type { Delivery, OciContext, OciLimits } from './context.ts'
export { ManifestReader, type ServedManifest } from './manifest-reader.ts'
export { checkUrls, childDigests, judgeChildren, type ManifestPolicy } from './manifest-checks.ts'
export { findImported, importBlobs, importManifests, importTags, type ReadManifest } from './manifest-import.ts'
export { checkInventory, InventoryKeeper } from './inventory-keeping.ts'
export { startInventorySweeps } from './inventory-sweeps.ts'
export { MetadataRebuild, type RebuildCounts } from './metadata-rebuild.ts'
export { checkManifestRows } from './row-check.ts'
export { type ManifestDependencies, pushManifest } from './manifests.ts'
export { correctOciTimes, createOciMaintenance, type OciMaintenance } from './maintenance.ts'
export { findManifestRepository } from './row-check-rows.ts'
export { ociMigrations } from './migrations.ts'
export { BlobReader } from './repository-blobs.ts'
export {
  type ForgottenTrash,
  forgetTrash,
  listTrash,
  type Restored,
  restoreFromTrash,
  type TrashEntry,
  type TrashPage,
} from './trash.ts'
export { createLinks, foldRepositoryName, repositoryOf } from './paths.ts'

const ROUTES: readonly OciRoute[] = [
  getBase,
  getExtensions,
  getRepositoryExtensions,
  listRepositories,
  listTags,
  getReferrers,
  getManifest,
  putManifest,
  deleteManifest,
  getBlob,
  deleteBlob,
  startUpload,
  getUpload,
  patchUpload,
  putUpload,
  deleteUpload,
]

/** What manifests need of blobs, for the garbage collector: those that can be pulled, and those that rest. */
export const ociReferences: BlobReferences = {
  findNeeded: async (connection, repositoryId, digests) => {
    const needed = await findNeededChildren(connection, repositoryId, digests)
    return needed.union(await findChildrenOfDeleted(connection, repositoryId, digests))
  },
  findOwned: async (connection, digests) => {
    if (digests.length === 0) return new Set()
    const owned = await findManifestDigests(connection, digests)
    return owned.union(await findDeletedDigests(connection, digests))
  },
}

/**
 * The same, apart from each other, for telling what is garbage.
 * @param trashAgeMs what has rested for longer counts for nothing: the next run gives it up.
 */
export function createOciUses(trashAgeMs: number): BlobUses {
  return {
    pulled: { findNeeded: findNeededChildren, findOwned: findManifestDigests },
    resting: {
      findNeeded: async (connection, repositoryId, digests) =>
        findChildrenOfDeleted(connection, repositoryId, digests, steadyNow() - trashAgeMs),
      findOwned: async (connection, digests) => findDeletedDigests(connection, digests, steadyNow() - trashAgeMs),
    },
  }
}

/**
 * Adds the endpoints to the server.
 * @param prefix what stands before `/v2/`: empty, or a path without a slash at the end.
 */
export function registerOci(app: FastifyInstance, prefix: string, context: OciContext): void {
  const { cacheHeaders } = context.delivery
  app.register(
    async (registry) => {
      registry.addHook('onRequest', async (_request, reply) => {
        reply.header('docker-distribution-api-version', 'registry/2.0')
        // Some CDNs keep what says nothing for a day.
        if (cacheHeaders !== undefined) reply.headers(cacheHeaders.changing)
      })
      for (const route of ROUTES) registry.route(route(context))
      if (cacheHeaders !== undefined) registry.route(getCdnBlob(context))
    },
    { prefix },
  )
}
