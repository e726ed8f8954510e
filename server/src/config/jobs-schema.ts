import * as z from 'zod'
import { about, count, delay } from './values.ts'

const MIN_LEASE_MS = 1_000

/** What is done later, such as telling a CDN of what was deleted. */
export const jobs = z.strictObject({
  concurrency: count
    .default(4)
    .meta(about('How many jobs one server does at the same time.', '一个服务器同时执行的任务数。')),
  lease: delay
    .refine((durationMs) => durationMs >= MIN_LEASE_MS, { error: 'a length of time of 1s at least, such as 30s' })
    .prefault('30s')
    .meta(
      about(
        'After how long a job is done again by another server, or after a restart, when nothing more is heard of the one that did it.',
        '执行任务的服务器失去音讯多久之后，任务由其他服务器（或重启后）重新执行。',
      ),
    ),
})
