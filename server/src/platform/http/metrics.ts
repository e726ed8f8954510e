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

const TIME_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]
const SIZE_BUCKETS = [1024, 16_384, 262_144, 4_194_304, 67_108_864, 1_073_741_824]

export function createMetrics(version: string): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  new Gauge({ name: 'entrepot_build_info', help: 'The version that runs.', labelNames: ['version'], registers })
    .labels(version)
    .set(1)
  const labelNames = ['handler', 'method', 'code'] as const
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, labelNames, buckets, registers })
  const requests = new Counter({
    name: 'registry_http_requests_total',
    help: 'Requests answered.',
    labelNames,
    registers,
  })
  const inFlight = new Gauge({
    name: 'registry_http_in_flight_requests',
    help: 'Requests being answered.',
    labelNames: ['handler'],
    registers,
  })
  const duration = histogram('registry_http_request_duration_seconds', 'Time until the answer ended.', TIME_BUCKETS)
  const requestSize = histogram('registry_http_request_size_bytes', 'Size of bodies that announce it.', SIZE_BUCKETS)
  const responseSize = histogram('registry_http_response_size_bytes', 'Size of answers.', SIZE_BUCKETS)
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
