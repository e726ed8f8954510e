import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Database } from '#platform/database'
import { addJob, HopelessJobError, type JobHandler, JobRunner, Jobs } from './index.ts'
import { claimJob } from './job-claim.ts'
import { updateJob } from './job-rows.ts'

const LEASE_MS = 2_400
const WAIT_MS = 30_000

/** What a test works with. */
export interface Stand {
  /** One and the same database, as another instance has it. */
  open(): Promise<Database>
  /** What is ended with the test, before the databases are closed. */
  readonly runners: JobRunner[]
}

/** What has to hold on every engine: each promise with its test. */
export const PROMISES: Readonly<Record<string, (stand: Stand) => Promise<void>>> = {
  'a job is done once it is committed, and never if the transaction is undone': async (stand) => {
    const database = await stand.open()
    const done: unknown[] = []
    startRunner(stand, database, { note: handler(async (payload) => void done.push(payload)) })
    await add(database, 'note', { number: 1 })
    await assert.rejects(
      database.transaction(async (transaction) => {
        await addJob(transaction, { kind: 'note', payload: { number: 2 } })
        throw new Error('undone')
      }),
      /undone/,
    )
    await add(database, 'note', { number: 3 })
    await until(() => done.length >= 2)
    await untilEnded(database, 2)
    assert.deepEqual(done, [{ number: 1 }, { number: 3 }])
  },

  'several instances share the jobs, and none is done twice': async (stand) => {
    const first = await stand.open()
    const begun: string[] = []
    const add30 = Array.from({ length: 30 }, async (_, number) => add(first, 'share', number))
    await Promise.all(add30)
    const instances = await Promise.all(['a', 'b', 'c'].map(async (name) => ({ name, database: await stand.open() })))
    for (const { name, database } of instances) {
      const work = async (payload: unknown) => {
        begun.push(`${String(payload)} by ${name}`)
        await sleep(20)
      }
      startRunner(stand, database, { share: handler(work) }, { concurrency: 2, leaseMs: 60_000 })
    }
    await untilEnded(first, 30)
    assert.equal(begun.length, 30)
    assert.equal(new Set(begun.map((text) => text.split(' ', 1)[0])).size, 30)
    assert.ok(new Set(begun.map((text) => text.slice(-1))).size > 1, 'one instance did everything')
  },

  'a job that throws is tried again later, each time after a longer rest, and fails in the end': async (stand) => {
    const database = await stand.open()
    const begunAt: number[] = []
    const poisoned = async () => {
      begunAt.push(performance.now())
      throw new Error('poisoned', { cause: new Error('arsenic') })
    }
    const others: unknown[] = []
    const handlers = { poisoned: handler(poisoned, 3), other: handler(async (payload) => void others.push(payload)) }
    await add(database, 'poisoned', {})
    startRunner(stand, database, handlers, { concurrency: 1 })
    await until(() => begunAt.length === 1)
    // It keeps nobody waiting.
    for (let number = 0; number < 5; number++) await add(database, 'other', number)
    await until(() => others.length === 5)
    assert.ok(begunAt.length < 3)
    await untilEnded(database, 6)
    const [first = 0, second = 0, third = 0] = begunAt
    assert.ok(second - first >= 500 && third - second >= 1_000, `rests: ${second - first}, ${third - second}`)
    const { jobs } = await new Jobs(database, new Map()).list({ limit: 10, kind: 'poisoned' })
    assert.deepEqual(
      jobs.map(({ state, attempts, error }) => ({ state, attempts, error })),
      [{ state: 'failed', attempts: 3, error: 'poisoned: arsenic' }],
    )
  },

  'what trying again cannot help fails at once': async (stand) => {
    const database = await stand.open()
    startRunner(stand, database, {
      hopeless: handler(async () => {
        throw new HopelessJobError('no')
      }),
    })
    await add(database, 'hopeless', {})
    await untilEnded(database, 1)
    assert.deepEqual(await states(database), ['failed 1'])
  },

  'a job of a lost process is done by another one when its lease has ended, and given up after the third': async (
    stand,
  ) => {
    const database = await stand.open()
    const handlers = new Map([['lethal', handler(async () => {})]])
    await add(database, 'lethal', {})
    for (let loss = 1; loss <= 3; loss++) {
      await until(
        async () => (await claimJob(database, handlers, { owner: `${loss}`, leaseMs: 300 }))?.type === 'claimed',
      )
      assert.equal(await claimJob(database, handlers, { owner: 'other', leaseMs: 300 }), undefined, 'it has a lease')
      await until(async () => (await claimJob(database, handlers, { owner: 'other', leaseMs: 300 }))?.type === 'lost')
    }
    assert.deepEqual(await states(database), ['failed 3'])
    const jobs = new Jobs(database, handlers)
    const [job] = (await jobs.list({ limit: 1 })).jobs
    await jobs.retry(job?.id ?? 0)
    startRunner(stand, database, { lethal: handler(async () => {}) })
    await untilEnded(database, 1)
    assert.deepEqual(await states(database), ['done 1'])
  },

  'an instance that cannot renew its lease lets go of the job before another one takes it': async (stand) => {
    const database = await stand.open()
    let isCut = false
    const cut: Database = {
      ...database,
      read: database.read,
      version: 0,
      transaction: async (work) => {
        if (isCut) throw new Error('the network is cut')
        return database.transaction(work)
      },
    }
    let letGoAt = 0
    const holding = handler(async (_payload, { signal }) => {
      isCut = true
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve)
      })
      letGoAt = performance.now()
      throw signal.reason
    })
    await add(database, 'held', {})
    startRunner(stand, cut, { held: holding })
    await until(() => isCut)
    let takenAt = 0
    startRunner(stand, await stand.open(), { held: handler(async () => void (takenAt = performance.now())) })
    await untilEnded(database, 1)
    assert.ok(letGoAt > 0 && letGoAt < takenAt, `let go at ${letGoAt}, taken at ${takenAt}`)
    assert.deepEqual(await states(database), ['done 2'])
  },

  'an attempt whose job another one has taken meanwhile ends, and notes nothing': async (stand) => {
    const database = await stand.open()
    let isBegun = false
    let reason: unknown
    const held = handler(async (_payload, { signal, log }) => {
      isBegun = true
      log('of the first attempt')
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve)
      })
      reason = signal.reason
    })
    await add(database, 'held', {})
    startRunner(stand, database, { held }, { leaseMs: 60_000 })
    await until(() => isBegun)
    // As if its process had been stopped for longer than the lease.
    const [job] = (await new Jobs(database, new Map()).list({ limit: 1 })).jobs
    const id = job?.id ?? 0
    await database.transaction(async (transaction) => updateJob(transaction, { id }, { owner: 'another', attempts: 2 }))
    await until(() => reason !== undefined)
    await Promise.all(stand.runners.map(async (runner) => runner.end()))
    assert.deepEqual(await states(database), ['running 2'])
    assert.deepEqual(await new Jobs(database, new Map()).lines(id), [])
  },

  'a long job keeps its lease, and tells how far it is while it runs': async (stand) => {
    const database = await stand.open()
    const other = await stand.open()
    let begun = 0
    const long = handler(async (_payload, { report, log }) => {
      begun++
      report('half')
      log('so far')
      await sleep(2 * LEASE_MS)
    })
    await add(database, 'long', {})
    startRunner(stand, database, { long })
    startRunner(stand, other, { long })
    const jobs = new Jobs(other, new Map())
    await until(async () => (await jobs.list({ limit: 1 })).jobs[0]?.progress === 'half')
    const [job] = (await jobs.list({ limit: 1 })).jobs
    assert.equal(job?.state, 'running')
    assert.deepEqual(
      (await jobs.lines(job.id)).map(({ text }) => text),
      ['so far'],
    )
    await untilEnded(database, 1)
    assert.equal(begun, 1)
  },

  'of one key there is one job at a time': async (stand) => {
    const database = await stand.open()
    const addKeyed = async () =>
      database.transaction(async (transaction) => addJob(transaction, { kind: 'keyed', key: 'k', payload: {} }))
    await Promise.all([addKeyed(), addKeyed(), addKeyed()])
    assert.equal((await states(database)).length, 1)
    startRunner(stand, database, { keyed: handler(async () => {}) })
    await untilEnded(database, 1)
    await addKeyed()
    await untilEnded(database, 2)
  },

  'a schedule is kept by all instances together, each time once': async (stand) => {
    const times: number[] = []
    const everySecond = {
      ...handler(async () => void times.push(Math.floor(Date.now() / 1000))),
      schedule: '* * * * * *',
    }
    const database = await stand.open()
    startRunner(stand, database, { tick: everySecond })
    startRunner(stand, await stand.open(), { tick: everySecond })
    await until(() => times.length >= 3)
    assert.equal(new Set(times).size, times.length, `twice in one second: ${times.join(', ')}`)
    const { jobs } = await new Jobs(database, new Map()).list({ limit: 100 })
    assert.ok(jobs.filter(({ endedAt }) => endedAt === null).length <= 1)
  },

  'a job is cancelled on whichever instance it runs': async (stand) => {
    const database = await stand.open()
    await add(database, 'endless', {})
    startRunner(stand, database, {
      endless: handler(
        async (_payload, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason))
          }),
      ),
    })
    const jobs = new Jobs(await stand.open(), new Map())
    await until(async () => (await jobs.list({ limit: 1 })).jobs[0]?.state === 'running')
    const [job] = (await jobs.list({ limit: 1 })).jobs
    await jobs.cancel(job?.id ?? 0)
    await untilEnded(database, 1)
    assert.deepEqual(await states(database), ['cancelled 1'])
  },

  'a log keeps its last 200 lines, and of each its beginning': async (stand) => {
    const database = await stand.open()
    await add(database, 'talk', {})
    startRunner(stand, database, {
      talk: handler(async (_payload, { log }) => {
        for (let number = 0; number < 300; number++) log(`${number} ${'x'.repeat(2_000)}`)
      }),
    })
    await untilEnded(database, 1)
    const jobs = new Jobs(database, new Map())
    const lines = await jobs.lines((await jobs.list({ limit: 1 })).jobs[0]?.id ?? 0)
    assert.equal(lines.length, 200)
    assert.match(lines[0]?.text ?? '', /^101 x/)
    assert.equal(lines[0]?.text.length, 1_000)
    assert.equal(lines.at(-1)?.text, 'attempt 1 is done')
  },

  'a kind that an instance does not know waits for one that does': async (stand) => {
    const database = await stand.open()
    await add(database, 'new', {})
    await add(database, 'old', {})
    startRunner(stand, database, { old: handler(async () => {}) })
    await untilEnded(database, 1)
    assert.deepEqual((await states(database)).toSorted(), ['done 1', 'queued 0'])
    startRunner(stand, await stand.open(), { new: handler(async () => {}) })
    await untilEnded(database, 2)
  },
}

function handler(run: JobHandler['run'], maxAttempts = 5): JobHandler {
  return { maxAttempts, run }
}

function startRunner(
  stand: Stand,
  database: Database,
  handlers: Record<string, JobHandler>,
  { concurrency = 4, leaseMs = LEASE_MS } = {},
): void {
  const dependencies = { database, handlers: new Map(Object.entries(handlers)), log: pino({ enabled: false }) }
  const runner = new JobRunner({ ...dependencies, observe: () => {} }, { concurrency, leaseMs })
  runner.start()
  stand.runners.push(runner)
}

async function add(database: Database, kind: string, payload: unknown): Promise<void> {
  await database.transaction(async (transaction) => addJob(transaction, { kind, payload }))
}

async function states(database: Database): Promise<string[]> {
  const { jobs } = await new Jobs(database, new Map()).list({ limit: 1_000 })
  return jobs.map(({ state, attempts }) => `${state} ${attempts}`)
}

async function untilEnded(database: Database, count: number): Promise<void> {
  await until(async () => {
    const { jobs } = await new Jobs(database, new Map()).list({ limit: 1_000 })
    return jobs.filter(({ endedAt }) => endedAt !== null).length >= count
  })
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + WAIT_MS
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `not in time: ${condition.toString()}`)
    await sleep(20)
  }
}
