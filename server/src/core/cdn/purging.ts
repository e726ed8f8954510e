import type { Transaction } from '#platform/database'
import { addJob, HopelessJobError, type JobHandler, type JobRun, PostponedJobError } from '#platform/jobs'

/** The kind of the jobs that have a CDN forget what was deleted. */
export const PURGE_KIND = 'cdn-purge'

/** What Cloudflare takes in one request, whatever the plan. */
const URLS_PER_REQUEST = 30
const URLS_PER_JOB = 300
const ANSWER_TIMEOUT_MS = 30_000
const MAX_ANSWER_BYTES = 16_384
const MAX_ATTEMPTS = 12

/** Has a CDN forget what a registry no longer has. */
export interface Purging {
  /**
   * Adds the jobs, in the transaction that deletes.
   * @param paths those of the registry, beginning with `/v2/`
   */
  purge(transaction: Transaction, paths: readonly string[]): Promise<void>
}

/**
 * @param bases under which URLs the CDN knows the registry: scheme, host, and what stands before `/v2/`.
 */
export function createPurging(bases: readonly string[]): Purging {
  return {
    purge: async (transaction, paths) => {
      const urls = bases.flatMap((base) => paths.map((path) => base + path))
      for (const part of inParts(urls, URLS_PER_JOB)) {
        await addJob(transaction, { kind: PURGE_KIND, payload: { urls: part } })
      }
    },
  }
}

export interface CloudflareOptions {
  /** The API's URL, without a slash at the end. */
  readonly api: string
  readonly zone: string
  readonly token: string
}

/** Purges by Cloudflare's API (developers.cloudflare.com/api/resources/cache/methods/purge). */
export function createCloudflarePurge(options: CloudflareOptions): JobHandler {
  return {
    maxAttempts: MAX_ATTEMPTS,
    run: async (payload, run) => {
      const urls = urlsIn(payload)
      let purged = 0
      for (const files of inParts(urls, URLS_PER_REQUEST)) {
        await purgeFiles(options, files, run)
        purged += files.length
        run.report(`${purged} of ${urls.length} URLs`)
      }
      run.log(`Cloudflare has forgotten ${purged} URLs`)
    },
  }
}

async function purgeFiles(
  { api, zone, token }: CloudflareOptions,
  files: readonly string[],
  { signal }: JobRun,
): Promise<void> {
  const answer = await fetch(`${api}/zones/${encodeURIComponent(zone)}/purge_cache`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ files }),
    // What is asked is configured: it leads nowhere else.
    redirect: 'error',
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
  })
  const text = await readStart(answer)
  if (answer.ok && isSuccess(text)) return
  const message = `Cloudflare answered ${answer.status}: ${text.slice(0, 500)}`
  if (answer.status === 429 || answer.status === 503) {
    throw new PostponedJobError(message, retryAfterMs(answer.headers.get('retry-after')))
  }
  const isOwnMistake = answer.status >= 400 && answer.status < 500 && answer.status !== 408
  throw isOwnMistake ? new HopelessJobError(message) : new Error(message)
}

/** The beginning of a body, however long the rest is. */
async function readStart({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    length += chunk.byteLength
    if (length > MAX_ANSWER_BYTES) break
  }
  return Buffer.concat(chunks).toString('utf8', 0, MAX_ANSWER_BYTES)
}

function isSuccess(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && Reflect.get(value, 'success') === true
  } catch {
    return false
  }
}

/** Seconds, or a date (RFC 9110, section 10.2.3); 0 where there is neither. */
function retryAfterMs(header: string | null): number {
  if (header === null) return 0
  const delayMs = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now()
  return Number.isFinite(delayMs) ? Math.max(delayMs, 0) : 0
}

function urlsIn(payload: unknown): string[] {
  const urls: unknown = typeof payload === 'object' && payload !== null ? Reflect.get(payload, 'urls') : undefined
  if (Array.isArray(urls)) return urls.map(String)
  throw new HopelessJobError('the job names no URLs')
}

function* inParts<Value>(values: readonly Value[], size: number): Generator<Value[]> {
  for (let start = 0; start < values.length; start += size) yield values.slice(start, start + size)
}
