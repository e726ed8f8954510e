/**
 * Blobs: content by digest, shared by all repositories, and the uploads that become blobs.
 * A repository has a blob because a row says so; the digest alone opens nothing.
 * This folder knows nothing of manifests, of HTTP, or of who is asking.
 */
export type { AdoptableFile, Adoption, RecordContents } from './blob-adoption.ts'
export { checkBlobRows } from './blob-check.ts'
export {
  type Content,
  type ContentComparison,
  type ContentSource,
  type ContentTarget,
  copyContent,
  targetOf,
} from './content-copy.ts'
export type { ContentInspector, InspectionOptions } from './content-inspection.ts'
export { FolderInspector } from './folder-inspection.ts'
export { findObject } from './s3-markers.ts'
export { S3Inspector } from './s3-inspection.ts'
export { checkS3Leftovers } from './s3-leftover-check.ts'
export { ContentHash, digestOf } from './content-hash.ts'
export { FileIntake, type FileOrder, type FileOutcome, type RefusedFile } from './file-intake.ts'
export {
  findBlobSizes,
  findRepositoriesWithBlob,
  findStoredSizes,
  insertBlobs,
  insertMemberships,
  listContents,
} from './blob-rows.ts'
export { type Blobs, createBlobs } from './blobs.ts'
export { ContentTurns } from './content-turns.ts'
export { type ContentPolicy, type ServedContent } from './contents.ts'
export { GarbageCollector } from './garbage-collection.ts'
export type { BlobReferences, BlobUses } from './garbage-decisions.ts'
export { type GarbageHold, holdGarbage } from './garbage-hold.ts'
export { correctUnneededTimes } from './garbage-rows.ts'
export { type GarbageProgress, type GarbageRun, GarbageRuns } from './garbage-runs.ts'
export { GarbageSchedule } from './garbage-schedule.ts'
export { type GarbageSurvey, surveyGarbage } from './garbage-survey.ts'
export { checkLeftovers, listContentFiles } from './leftover-check.ts'
export { blobMigrations } from './migrations.ts'
export { blobFile, FilesystemStore } from './filesystem-store.ts'
export { S3Store } from './s3-store.ts'
export { type SourceFiles, UploadedFiles } from './uploaded-files.ts'
export { startUploadPurging } from './upload-purging.ts'
export { type BlobStore } from './store.ts'
export { UploadTurns } from './upload-turns.ts'
export { type UploadProgress, Uploads } from './uploads.ts'
