import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Metrics of the process and of HTTP, under the names that dashboards for CNCF distribution use. */
export interface Metrics {
  readonly registry: Registry
  /** Notes the start of a request; the result notes its end. */
  observeRequest(
    handler: string,
    method: string,
  ): (status: number, sizes: { request: number; response: number }) => void
}

const SIZE_BUCKETS = [1024, 16_384, 262_144, 4_194_304, 67_108_864, 1_073_741_824]

export function createMetrics(version: string): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'entrepot_build_info',
    help: 'The version that runs.',
    labelNames: ['version'],
    registers: [registry],
  })
    .labels(version)
    .set(1)
  const labelNames = ['handler', 'method', 'code'] as const
  const requests = new Counter({
    name: 'registry_http_requests_total',
    help: 'Requests answered.',
    labelNames,
    registers: [registry],
  })
  const inFlight = new Gauge({
    name: 'registry_http_in_flight_requests',
    help: 'Requests being answered.',
    labelNames: ['handler'],
    registers: [registry],
  })
  const duration = new Histogram({
    name: 'registry_http_request_duration_seconds',
    help: 'Time from the request to the end of its answer.',
    labelNames,
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60],
    registers: [registry],
  })
  const requestSize = new Histogram({
    name: 'registry_http_request_size_bytes',
    help: 'Size of request bodies that announce it.',
    labelNames,
    buckets: SIZE_BUCKETS,
    registers: [registry],
  })
  const responseSize = new Histogram({
    name: 'registry_http_response_size_bytes',
    help: 'Size of answers.',
    labelNames,
    buckets: SIZE_BUCKETS,
    registers: [registry],
  })
  return {
    registry,
    observeRequest: (handler, method) => {
      const start = process.hrtime.bigint()
      inFlight.labels(handler).inc()
      return (status, sizes) => {
        const labels = { handler, method: method.toLowerCase(), code: String(status) }
        inFlight.labels(handler).dec()
        requests.inc(labels)
        duration.observe(labels, Number(process.hrtime.bigint() - start) / 1e9)
        requestSize.observe(labels, sizes.request)
        responseSize.observe(labels, sizes.response)
      }
    },
  }
}
