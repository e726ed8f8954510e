import type { Logger } from '#platform/log'

/** A dependency that is looked at regularly. */
export interface HealthCheck {
  readonly name: string
  readonly intervalMs: number
  /** How many failures in a row make it count as failed. */
  readonly threshold: number
  /** Throws what is wrong. */
  readonly check: () => Promise<void>
}

export interface Health {
  /** What is wrong now, by the name of the check; empty when all is well. */
  problems(): Promise<Record<string, string>>
  /** From now on the process is not ready: it ends. */
  drain(): void
  stop(): void
}

/**
 * Runs the checks at their intervals, and logs when one begins to count as failed and when it recovers.
 * @param probe a quick look at what every request needs, taken each time that somebody asks.
 */
export function createHealth(checks: readonly HealthCheck[], probe: () => Promise<void>, log: Logger): Health {
  const failures = new Map<string, { count: number; reason: string }>()
  let isDraining = false
  const run = async ({ name, threshold, check }: HealthCheck) => {
    const before = failures.get(name)?.count ?? 0
    try {
      await check()
      failures.delete(name)
      if (before >= threshold) log.info({ check: name }, 'a health check is well again')
    } catch (error) {
      const failure = { count: before + 1, reason: reasonOf(error) }
      failures.set(name, failure)
      if (failure.count === threshold) log.warn({ check: name, reason: failure.reason }, 'a health check fails')
    }
  }
  const timers = checks.map((check) => {
    void run(check)
    return setInterval(() => void run(check), check.intervalMs).unref()
  })
  return {
    problems: async () => {
      const problems: Record<string, string> = {}
      if (isDraining) problems['server'] = 'it is shutting down'
      for (const { name, threshold } of checks) {
        const failure = failures.get(name)
        if (failure !== undefined && failure.count >= threshold) problems[name] = failure.reason
      }
      await probe().catch((error: unknown) => {
        problems['metadata'] = reasonOf(error)
      })
      return problems
    },
    drain: () => void (isDraining = true),
    stop: () => {
      for (const timer of timers) clearInterval(timer)
    },
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
