import type { Logger } from '#platform/log'

/** A short interval must not turn a busy moment into a failure. */
const DEFAULT_TIMEOUT_MS = 5_000

/** A dependency that is looked at regularly. */
export interface HealthCheck {
  readonly name: string
  readonly intervalMs: number
  /** How long a look may take, 5 seconds when nothing is said; a shorter interval does not make it fail sooner. */
  readonly timeoutMs?: number
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
 * A check that has not ended when its next turn comes is not started again beside itself; once it has taken longer than
 * it may, it fails in each such turn.
 * @param probe a quick look at what every request needs, taken each time that somebody asks.
 */
export function createHealth(checks: readonly HealthCheck[], probe: () => Promise<void>, log: Logger): Health {
  const failures = new Map<string, { count: number; reason: string }>()
  let isDraining = false
  const fail = ({ name, threshold }: HealthCheck, reason: string) => {
    const count = (failures.get(name)?.count ?? 0) + 1
    failures.set(name, { count, reason })
    if (count === threshold) log.warn({ check: name, reason }, 'a health check fails')
  }
  const succeed = ({ name, threshold }: HealthCheck) => {
    const before = failures.get(name)?.count ?? 0
    failures.delete(name)
    if (before >= threshold) log.info({ check: name }, 'a health check is well again')
  }
  const timers = checks.map((check) => {
    const takeTurn = turnsOf(check, { fail: (reason) => fail(check, reason), succeed: () => succeed(check) })
    takeTurn()
    return setInterval(takeTurn, check.intervalMs).unref()
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

/** What happens each time that the check's turn comes: a look, or perhaps a failure when the last one has not ended. */
function turnsOf(
  { check, intervalMs, timeoutMs = DEFAULT_TIMEOUT_MS }: HealthCheck,
  outcome: { fail: (reason: string) => void; succeed: () => void },
): () => void {
  let isRunning = false
  let missedTurns = 0
  const look = async () => {
    isRunning = true
    missedTurns = 0
    try {
      await check()
      outcome.succeed()
    } catch (error) {
      outcome.fail(reasonOf(error))
    } finally {
      isRunning = false
    }
  }
  return () => {
    if (!isRunning) {
      void look()
      return
    }
    missedTurns++
    const elapsedMs = missedTurns * intervalMs
    if (elapsedMs > timeoutMs) outcome.fail(`it has not ended for ${elapsedMs / 1000} s`)
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
