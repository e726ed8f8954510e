import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Health } from '#platform/health'
import type { Metrics } from './metrics.ts'

export interface OperationsOptions {
  /** Where metrics are served; undefined serves none. */
  readonly metricsPath: string | undefined
  /** The right that reading metrics needs. */
  readonly metricsRight: string
}

/**
 * Adds what operators and orchestrators ask for: `/healthz` (the process answers), `/readyz` and, as CNCF distribution
 * names it, `/debug/health` (it can serve requests), and metrics in Prometheus's text format.
 */
export function registerOperations(
  app: FastifyInstance,
  dependencies: { health: Health; metrics: Metrics },
  options: OperationsOptions,
): void {
  const { health, metrics } = dependencies
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
        return replyUncached(reply)
          .code(isReady ? 200 : 503)
          .send({ status: isReady ? 'ok' : 'unavailable', problems })
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
