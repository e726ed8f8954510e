import { makeBlobGetWork, makeSecureBlobGetWork } from './blob-get.ts'
import { makeCatalogWork } from './catalog.ts'
import { makeGarbageCollectionWork } from './garbage-collection.ts'
import { makeManifestWork } from './manifest.ts'
import { makeMemoryWork } from './memory.ts'
import { makeChunkedPushWork, makeMonolithicPushWork, makeStreamedPushWork } from './push.ts'
import { makePushToStoreWork } from './push-to-store.ts'
import { makeStartUpWork } from './start-up.ts'
import { makeTagListWork } from './tag-list.ts'
import { makeTwoInstancesWork } from './two-instances.ts'
import type { MakeWork } from './work.ts'

/** Everything that is measured, in this order. The lists come last: their many small files take long to remove. */
export const ALL_WORK: readonly MakeWork[] = [
  makeManifestWork,
  makeBlobGetWork,
  makeSecureBlobGetWork,
  makeMonolithicPushWork,
  makeChunkedPushWork,
  makeStreamedPushWork,
  makeStartUpWork,
  makeMemoryWork,
  makeGarbageCollectionWork,
  makeCatalogWork,
  makeTagListWork,
]

/** What is measured where metadata and blobs are elsewhere. */
export const SCALED_OUT_WORK: readonly MakeWork[] = [
  makeManifestWork,
  makeTwoInstancesWork,
  makePushToStoreWork,
  makeMemoryWork,
  makeCatalogWork,
  makeTagListWork,
]
