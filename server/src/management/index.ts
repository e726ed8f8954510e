/**
 * What an operator can ask a registry to do, under `/api/v1/`: over a socket in the data folder while a server works
 * there, and in the process of the command line otherwise. Each operation is one file in `routes/`; what it does is in
 * the room that it is about, without HTTP.
 */
import type { FastifyInstance } from 'fastify'
import type { ManagementContext, ManagementRoute } from './context.ts'
import { cancelJob } from './routes/cancel-job.ts'
import { createBackup } from './routes/create-backup.ts'
import { emptyTrash } from './routes/empty-trash.ts'
import { exportImages } from './routes/export-images.ts'
import { getGarbage } from './routes/get-garbage.ts'
import { importImages } from './routes/import-images.ts'
import { importDistribution } from './routes/import-distribution.ts'
import { getJob } from './routes/get-job.ts'
import { listGarbageRuns } from './routes/list-garbage-runs.ts'
import { listJobLines } from './routes/list-job-lines.ts'
import { listJobs } from './routes/list-jobs.ts'
import { listTrash } from './routes/list-trash.ts'
import { quarantineContent } from './routes/quarantine-content.ts'
import { restoreFromTrash } from './routes/restore-from-trash.ts'
import { retryJob } from './routes/retry-job.ts'
import { runGarbageCollection } from './routes/run-garbage-collection.ts'

export type { Garbage } from './context.ts'
export type { GarbageAnswer } from './routes/get-garbage.ts'
export type { GarbageRunsAnswer } from './routes/list-garbage-runs.ts'
export type { JobLinesAnswer } from './routes/list-job-lines.ts'
export { listenOnSocket, socketIn } from './management-socket.ts'

const ROUTES: readonly ManagementRoute[] = [
  getGarbage,
  listGarbageRuns,
  runGarbageCollection,
  listTrash,
  restoreFromTrash,
  emptyTrash,
  quarantineContent,
  importDistribution,
  importImages,
  exportImages,
  listJobs,
  getJob,
  listJobLines,
  cancelJob,
  retryJob,
  createBackup,
]

/** Adds the operations to a server: their bodies, where they take one, are JSON of up to 1 MiB. */
export function registerManagement(app: FastifyInstance, context: ManagementContext): void {
  app.register(async (management) => {
    management.addContentTypeParser(
      'application/json',
      { parseAs: 'string' },
      management.getDefaultJsonParser('error', 'error'),
    )
    for (const route of ROUTES) management.route(route(context))
  })
}
