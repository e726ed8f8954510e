/**
 * What a check of an installation finds: one form for what blobs, formats and the database tell.
 * Nothing here looks at anything; the rooms that own the content do.
 */
export { Checked, type Finding, finding, type FindingKind, SEVERITIES } from './finding.ts'
