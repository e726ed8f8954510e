/**
 * Images on their way into an installation, and out of it: what reads and writes the forms of other programs. What is
 * stored is stored by the rooms that own it, under the same rules as a push.
 */
export { verifyDistribution } from './distribution-verification.ts'
export { type ImportCounts, type ImportEvent, type Listener, type Skipped } from './import-report.ts'
export { Transfers } from './transfers.ts'
