import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { JobState } from './job.ts'
import type { ObserveAttempt } from './job-runner.ts'

const TIME_BUCKETS = [0.01, 0.1, 1, 10, 60, 600, 3_600]
const COUNTED = ['queued', 'running', 'failed'] as const

/**
 * Metrics of jobs.
 * @param count asks the database, which all instances share, whenever metrics are read.
 * @returns counts what this process did.
 */
export function createJobMetrics(
  registry: Registry,
  count: () => Promise<ReadonlyMap<JobState, number>>,
): ObserveAttempt {
  const registers = [registry]
  const jobs = new Gauge({
    name: 'entrepot_jobs',
    help: 'Jobs of all instances that wait or run, and those that failed and wait for somebody.',
    labelNames: ['state'],
    registers,
    collect: async () => {
      try {
        const counted = await count()
        for (const state of COUNTED) jobs.set({ state }, counted.get(state) ?? 0)
      } catch {
        // The other metrics are most wanted when the database cannot be asked.
        jobs.reset()
      }
    },
  })
  const attempts = new Counter({
    name: 'entrepot_jobs_attempts_total',
    help: 'Attempts of this process at jobs, by what became of them.',
    labelNames: ['kind', 'outcome'],
    registers,
  })
  const durations = new Histogram({
    name: 'entrepot_jobs_attempt_duration_seconds',
    help: 'How long attempts took.',
    labelNames: ['kind'],
    buckets: TIME_BUCKETS,
    registers,
  })
  return (kind, outcome, durationMs) => {
    attempts.inc({ kind, outcome })
    durations.observe({ kind }, durationMs / 1_000)
  }
}
