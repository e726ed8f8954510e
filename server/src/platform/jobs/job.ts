const JOB_STATES = ['queued', 'running', 'done', 'failed', 'cancelled'] as const

/** `queued` until it is due; what is `failed` stays until somebody has it tried again. */
export type JobState = (typeof JOB_STATES)[number]

export function isJobState(text: string): text is JobState {
  return JOB_STATES.some((state) => state === text)
}

/** A job as people see it; times are in ISO 8601. */
export interface Job {
  readonly id: number
  readonly kind: string
  readonly key: string | null
  readonly state: JobState
  /** How often it was begun. */
  readonly attempts: number
  readonly createdAt: string
  /** When it was begun last. */
  readonly startedAt: string | null
  readonly endedAt: string | null
  /** When it is tried next, while it is queued. */
  readonly dueAt: string | null
  /** How far it is, in its own words. */
  readonly progress: string | null
  /** What went wrong last. */
  readonly error: string | null
  readonly payload: unknown
}

/** What a job writes while it runs. */
export interface JobLine {
  readonly at: string
  readonly text: string
}

/** A job to be done. */
export interface NewJob {
  readonly kind: string
  /** Of one key there is one job at a time that has not ended, over all instances. */
  readonly key?: string
  /** What the handler gets, as JSON: never a secret. */
  readonly payload: unknown
}

/** What a job that runs can use. */
export interface JobRun {
  /** Aborted when the job is cancelled, when the server ends, and when another instance may have taken the job. */
  readonly signal: AbortSignal
  /** Writes a line into the job's log; the last 200 are kept. */
  readonly log: (text: string) => void
  /** Says how far the job is. */
  readonly report: (progress: string) => void
}

/** How jobs of one kind are done. A job may be begun several times: what was done before must be no harm. */
export interface JobHandler {
  /** After so many attempts that threw, the job has failed. */
  readonly maxAttempts: number
  /** The times at which a job of this kind is to be done, as a cron expression in the time zone of the server. */
  readonly schedule?: string
  readonly run: (payload: unknown, run: JobRun) => Promise<void>
}

/** Trying again cannot help; somebody must change something first. */
export class HopelessJobError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'HopelessJobError'
  }
}

/** Whoever is asked says when to come back. */
export class PostponedJobError extends Error {
  readonly delayMs: number

  constructor(message: string, delayMs: number) {
    super(message)
    this.name = 'PostponedJobError'
    this.delayMs = delayMs
  }
}
