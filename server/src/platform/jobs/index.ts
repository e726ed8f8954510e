/**
 * Work that is done later, surely: a job is added in the transaction that makes it necessary, and done by whichever
 * process takes it, again and again until it is done or given up. It knows nothing of what jobs do.
 */
export { HopelessJobError, type Job, type JobHandler, type JobLine, type JobRun, PostponedJobError } from './job.ts'
export { isJobState } from './job.ts'
export { type JobHandlers } from './job-claim.ts'
export { createJobMetrics } from './job-metrics.ts'
export { insertJob as addJob } from './job-rows.ts'
export { JobRunner } from './job-runner.ts'
export { createForgetting, type JobPage, Jobs } from './jobs.ts'
export { jobMigrations } from './migrations.ts'
