import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Health } from '#platform/health'
import type { Metrics } from './metrics.ts'

export interface OperationsOptions {
  /** Where metrics are served; undefined serves none. */
  readonly metricsPath: string | undefined
  /** The right that reading metrics needs. */
  readonly metricsRight: string
  /** Only operators reach the listener: it says what is wrong, and has nothing at `/`. */
  readonly isForOperators: boolean
}

/**
 * Adds what operators and orchestrators ask for: `/healthz` (the process answers), `/readyz` and, as CNCF distribution
 * names it, `/debug/health` (it can serve requests), and metrics in Prometheus's text format. What is wrong, with the names
 * of what is asked, is only for operators: anyone may ask whether the server is ready.
 */
export function registerOperations(
  app: FastifyInstance,
  dependencies: { health: Health; metrics: Metrics },
  options: OperationsOptions,
): void {
  const { health, metrics } = dependencies
  if (!options.isForOperators) {
    // Probes of CNCF distribution ask here; the console will be at this URL.
    app.route({
      method: ['GET', 'HEAD'],
      url: '/',
      config: { right: 'public', handler: 'root' },
      handler: async (_request, reply) => replyUncached(reply).send(),
    })
  }
  app.route({
    method: ['GET', 'HEAD'],
    url: '/healthz',
    config: { right: 'public', handler: 'healthz' },
    handler: async (_request, reply) => replyUncached(reply).send({ status: 'ok' }),
  })
  for (const url of ['/readyz', '/debug/health']) {
    app.route({
      method: ['GET', 'HEAD'],
      url,
      config: { right: 'public', handler: 'readyz' },
      handler: async (_request, reply) => {
        const problems = await health.problems()
        const isReady = Object.keys(problems).length === 0
        const status = isReady ? 'ok' : 'unavailable'
        return replyUncached(reply)
          .code(isReady ? 200 : 503)
          .send(options.isForOperators ? { status, problems } : { status })
      },
    })
  }
  if (options.metricsPath === undefined) return
  app.route({
    method: ['GET', 'HEAD'],
    url: options.metricsPath,
    config: { right: options.metricsRight, handler: 'metrics' },
    handler: async (_request, reply) =>
      replyUncached(reply)
        .type(metrics.registry.contentType)
        .send(await metrics.registry.metrics()),
  })
}

function replyUncached(reply: FastifyReply): FastifyReply {
  return reply.header('cache-control', 'no-store')
}
