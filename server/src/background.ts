import { createCloudflarePurge, createPurging, PURGE_KIND, type Purging } from '#core/cdn'
import type { Database } from '#platform/database'
import { createForgetting, createJobMetrics, type JobHandler, type JobHandlers, JobRunner, Jobs } from '#platform/jobs'
import type { Metrics } from '#platform/http'
import type { Logger } from '#platform/log'
import type { Config } from './config/index.ts'

/** The kinds of jobs that this process can do. */
function createHandlers(config: Config, database: Database): JobHandlers {
  const handlers = new Map<string, JobHandler>([['forget-ended-jobs', createForgetting(database)]])
  const { provider, api, zone = '', token = '' } = config.cdn?.purge ?? { provider: 'none', api: '' }
  if (provider === 'cloudflare') {
    handlers.set(PURGE_KIND, createCloudflarePurge({ api: api.replace(/\/+$/, ''), zone, token }))
  }
  return handlers
}

/** What operators do with jobs. */
export function createJobs(config: Config, database: Database): Jobs {
  return new Jobs(database, createHandlers(config, database))
}

/** What tells a CDN of deletions; undefined where none is to be told. */
export function createCdnPurging(config: Config): Purging | undefined {
  const { cdn, http } = config
  if (cdn === undefined || cdn.purge.provider === 'none') return undefined
  const origins = [cdn.baseurl, http.host].filter((url) => url !== undefined).map((url) => new URL(url).origin)
  const prefix = http.prefix.replace(/\/+$/, '')
  return createPurging([...new Set(origins)].map((origin) => origin + prefix))
}

/**
 * Does jobs until the end, and counts them.
 * @returns ends it.
 */
export function startJobs(
  config: Config,
  dependencies: { database: Database; metrics: Metrics; log: Logger },
): () => Promise<void> {
  const { database, metrics } = dependencies
  const handlers = createHandlers(config, database)
  const jobs = new Jobs(database, handlers)
  const observe = createJobMetrics(metrics.registry, async () => jobs.count())
  if (config.storage.maintenance.readonly.enabled) return async () => {}
  const { concurrency, lease } = config.jobs
  const log = dependencies.log.child({ module: 'jobs' })
  const runner = new JobRunner({ database, handlers, log, observe }, { concurrency, leaseMs: lease })
  runner.start()
  return async () => runner.end()
}
