const FIRST_DELAY_MS = 1_000
/** No attempt is further away than that. */
export const MAX_DELAY_MS = 3_600_000

/**
 * How long to wait after an attempt that failed: twice as long after each, and never as long as others that failed at the
 * same moment.
 * @param attempt from 1
 * @param leastMs what whoever was asked demands
 */
export function backOffMs(attempt: number, leastMs = 0): number {
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), MAX_DELAY_MS)
  const jittered = delayMs / 2 + (Math.random() * delayMs) / 2
  return Math.floor(Math.min(Math.max(jittered, leastMs), MAX_DELAY_MS))
}
