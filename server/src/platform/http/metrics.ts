import { collectDefaultMetrics, Counter, exponentialBuckets, Gauge, Histogram, Registry } from 'prom-client'

/** Metrics of the process and of HTTP, under the names that dashboards for CNCF distribution use. */
export interface Metrics {
  readonly registry: Registry
  /** Notes the start of a request; the result notes its end. */
  observeRequest(
    handler: string,
    method: string,
  ): (status: number, sizes: { request: number; response: number }) => void
  /** Notes that stored content was found damaged. */
  observeDamage(): void
  /** Notes what the reserve for deletions has on the disk. */
  observeReserve(state: ReserveState): void
  /** Notes the end of a run of the garbage collector. */
  observeGarbageCollection(report: GarbageReport): void
}

interface ReserveState {
  readonly sizeBytes: number
  /** Whether it is used up, so that pushes are refused. */
  readonly isSpent: boolean
}

/** What a run of the garbage collector has done. */
interface GarbageReport {
  readonly unlinkedBlobs: number
  readonly removedContents: number
  readonly removedBytes: number
  /** What stopped it; null when it got to its end. */
  readonly error: string | null
}

/** What clients may write there is not bounded, what is counted must be. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** The buckets of CNCF distribution, so that its alerts hold here, too. */
const TIME_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60]
const SIZE_BUCKETS = exponentialBuckets(1024, 2, 22)

export function createMetrics(version: string): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  new Gauge({ name: 'entrepot_build_info', help: 'The version that runs.', labelNames: ['version'], registers })
    .labels(version)
    .set(1)
  const requests = new Counter({
    name: 'registry_http_requests_total',
    help: 'Requests answered; the code is 499 where the client went away before that.',
    labelNames: ['handler', 'method', 'code'],
    registers,
  })
  const inFlight = new Gauge({
    name: 'registry_http_in_flight_requests',
    help: 'Requests being answered.',
    labelNames: ['handler'],
    registers,
  })
  const duration = new Histogram({
    name: 'registry_http_request_duration_seconds',
    help: 'Time until the answer ended.',
    labelNames: ['handler', 'method'],
    buckets: TIME_BUCKETS,
    registers,
  })
  const size = (name: string, help: string) =>
    new Histogram({ name, help, labelNames: ['handler'], buckets: SIZE_BUCKETS, registers })
  const requestSize = size('registry_http_request_size_bytes', 'Size of bodies that announce it.')
  const responseSize = size('registry_http_response_size_bytes', 'Size of answers that went out whole.')
  const damaged = new Counter({
    name: 'entrepot_content_damaged_total',
    help: 'Contents that were found damaged in the store.',
    registers,
  })
  return {
    registry,
    observeDamage: () => damaged.inc(),
    observeReserve: reserveObserver(registers),
    observeGarbageCollection: garbageObserver(registers),
    observeRequest: (handler, method) => {
      const start = process.hrtime.bigint()
      inFlight.inc({ handler })
      return (status, sizes) => {
        const verb = METHODS.has(method) ? method.toLowerCase() : 'unknown'
        inFlight.dec({ handler })
        requests.inc({ handler, method: verb, code: String(status) })
        duration.observe({ handler, method: verb }, Number(process.hrtime.bigint() - start) / 1e9)
        requestSize.observe({ handler }, sizes.request)
        responseSize.observe({ handler }, sizes.response)
      }
    },
  }
}

function reserveObserver(registers: Registry[]): (state: ReserveState) => void {
  const size = new Gauge({ name: 'entrepot_reserve_bytes', help: 'Room on the disk kept for deletions.', registers })
  const spent = new Gauge({
    name: 'entrepot_reserve_spent',
    help: '1 while the disk is full and its reserve used up, so that pushes are refused.',
    registers,
  })
  return ({ sizeBytes, isSpent }) => {
    size.set(sizeBytes)
    spent.set(isSpent ? 1 : 0)
  }
}

function garbageObserver(registers: Registry[]): (report: GarbageReport) => void {
  const counter = (name: string, help: string) => new Counter({ name: `entrepot_garbage_${name}`, help, registers })
  const unlinked = counter('unlinked_blobs_total', 'Blobs taken from repositories that did not need them.')
  const removed = counter('removed_contents_total', 'Contents removed because no repository had them.')
  const removedBytes = counter('removed_bytes_total', 'The bytes of removed contents.')
  const lastRun = new Gauge({
    name: 'entrepot_garbage_last_run_timestamp_seconds',
    help: 'When the garbage collector last got to its end.',
    registers,
  })
  return (report) => {
    unlinked.inc(report.unlinkedBlobs)
    removed.inc(report.removedContents)
    removedBytes.inc(report.removedBytes)
    if (report.error === null) lastRun.setToCurrentTime()
  }
}
