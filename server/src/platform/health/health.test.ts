import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setImmediate as settled } from 'node:timers/promises'
import { pino } from 'pino'
import { createHealth, type HealthCheck } from './index.ts'

const SECOND = 1_000

/** Looks whose ends the test decides, on a clock that the test moves. */
function watch(t: TestContext, options: Partial<HealthCheck> = {}) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const looks: PromiseWithResolvers<void>[] = []
  const check = async () => {
    const look = Promise.withResolvers<void>()
    looks.push(look)
    return look.promise
  }
  const lines: string[] = []
  const log = pino({}, { write: (line: string) => void lines.push(String(JSON.parse(line).msg)) })
  const health = createHealth(
    [{ name: 'disk', intervalMs: 10 * SECOND, threshold: 2, check, ...options }],
    async () => {},
    log,
  )
  t.after(() => health.stop())
  return {
    looks,
    lines,
    problems: async () => health.problems(),
    turn: () => t.mock.timers.tick(10 * SECOND),
    end: async (reason?: string) => {
      const look = looks.at(-1)
      if (reason === undefined) look?.resolve()
      else look?.reject(new Error(reason))
      await settled()
    },
  }
}

test('a check that does not end fails in every turn that it misses, until it ends well', async (t) => {
  const disk = watch(t)
  assert.deepEqual(await disk.problems(), {})
  disk.turn()
  assert.deepEqual(await disk.problems(), {}, 'one failure is below the threshold')
  disk.turn()
  assert.deepEqual(await disk.problems(), { disk: 'it has not ended for 20 s' })
  disk.turn()
  assert.deepEqual(await disk.problems(), { disk: 'it has not ended for 30 s' })
  await disk.end()
  assert.deepEqual(await disk.problems(), {})
  assert.deepEqual(disk.lines, ['a health check fails', 'a health check is well again'])
})

test('a check that does not end is not made a second time beside itself, and again once it has ended', async (t) => {
  const disk = watch(t)
  for (let turn = 0; turn < 100; turn++) disk.turn()
  assert.equal(disk.looks.length, 1)
  await disk.end('EIO')
  assert.deepEqual(await disk.problems(), { disk: 'EIO' })
  disk.turn()
  assert.equal(disk.looks.length, 2)
  await disk.end()
  assert.deepEqual(await disk.problems(), {})
})

test('a check whose timeout is longer than its interval may take that long', async (t) => {
  const disk = watch(t, { timeoutMs: 20 * SECOND, threshold: 1 })
  disk.turn()
  disk.turn()
  assert.deepEqual(await disk.problems(), {})
  disk.turn()
  assert.deepEqual(await disk.problems(), { disk: 'it has not ended for 30 s' })
})

test('a check that is made more often than every 5 seconds may still take so long', async (t) => {
  const disk = watch(t, { intervalMs: SECOND, threshold: 1 })
  t.mock.timers.tick(5 * SECOND)
  assert.deepEqual(await disk.problems(), {})
  t.mock.timers.tick(SECOND)
  assert.deepEqual(await disk.problems(), { disk: 'it has not ended for 6 s' })
})

test('a check that fails as often as its threshold says is a problem until it passes once', async (t) => {
  const disk = watch(t)
  await disk.end('EIO')
  assert.deepEqual(await disk.problems(), {})
  disk.turn()
  await disk.end('ENOSPC')
  assert.deepEqual(await disk.problems(), { disk: 'ENOSPC' })
  disk.turn()
  await disk.end()
  assert.deepEqual(await disk.problems(), {})
})
