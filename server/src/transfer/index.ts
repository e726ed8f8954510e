/**
 * Images on their way into an installation, and out of it: what reads and writes the forms of other programs. What is
 * stored is stored by the rooms that own it, under the same rules as a push.
 */
export { BackupCounts, contentsIn, copyContents } from './backup.ts'
export { type BackupLocation, openBackupPlace } from './backup-location.ts'
export { type BucketAccess, isBucketUrl } from './bucket-location.ts'
export { type BackupMark, listMarks, openSoundMetadata } from './backup-place.ts'
export { verifyDistribution } from './distribution-verification.ts'
export type { DistributionLocation, DistributionStorage } from './distribution-source.ts'
export { type Listener, Report, type Skipped, type TransferEvent } from './events.ts'
export type { ImportCounts } from './import-counts.ts'
export { Transfers } from './transfers.ts'
