import type { Health } from '#platform/health'
import { createHttpServer, type HttpServer, type Metrics, registerOperations } from '#platform/http'
import type { Logger } from '#platform/log'
import type { Config } from './config/index.ts'
import { debugServerOptions } from './settings.ts'

/** The listener that only operators reach, where CNCF distribution has it; undefined when none is configured. */
export async function createDebugServer(
  config: Config,
  foundation: { readonly metrics: Metrics; readonly health: Health; readonly log: Logger },
): Promise<HttpServer | undefined> {
  const { debug } = config.http
  if (debug?.addr === undefined) return undefined
  const server = await createHttpServer(debugServerOptions(config, debug.addr), {
    log: foundation.log.child({ module: 'debug' }),
    metrics: foundation.metrics,
    authorize: () => {},
    rewriteUrl: (url) => url,
  })
  const metricsPath = debug.prometheus.enabled ? debug.prometheus.path : undefined
  registerOperations(server.app, foundation, { metricsPath, metricsRight: 'public', isForOperators: true })
  return server
}
