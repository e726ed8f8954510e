import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '@entrepot/oci'
import { Turns } from './turns.ts'

test('work for one key goes one after the other, in the order it came', async () => {
  const turns = new Turns(5_000, 'busy')
  const events: string[] = []
  await Promise.all(
    ['a', 'b', 'c'].map(async (name, index) =>
      turns.take('key', async () => {
        events.push(`${name} begins`)
        await sleep(9 - index * 3)
        events.push(`${name} ends`)
      }),
    ),
  )
  assert.deepEqual(events, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

test('work for other keys does not wait', async () => {
  const turns = new Turns(5_000, 'busy')
  const held = Promise.withResolvers<void>()
  const first = turns.take('one', async () => held.promise)
  assert.equal(await turns.take('two', async () => 'done'), 'done')
  held.resolve()
  await first
})

test('work that failed lets the next one begin', async () => {
  const turns = new Turns(5_000, 'busy')
  const failed = turns.take('key', async () => {
    throw new Error('no luck')
  })
  const next = turns.take('key', async () => 'next')
  await assert.rejects(failed, /no luck/)
  assert.equal(await next, 'next')
})

test('who waits too long is told to try again, and those behind still get their turn', async () => {
  const turns = new Turns(20, 'busy')
  const held = Promise.withResolvers<void>()
  const first = turns.take('key', async () => held.promise)
  await assert.rejects(
    turns.take('key', async () => 'never'),
    (error) =>
      error instanceof RegistryError && error.code === 'TOOMANYREQUESTS' && error.headers['retry-after'] === '1',
  )
  const third = turns.take('key', async () => 'third')
  held.resolve()
  await first
  assert.equal(await third, 'third')
})

test('work that takes the turns of many keys keeps others out of each', async () => {
  const turns = new Turns(5_000, 'busy')
  const order: string[] = []
  const all = turns.takeAll(['a', 'b'], async () => {
    await sleep(20)
    order.push('all')
  })
  assert.ok(turns.isTaken('a') && turns.isTaken('b'))
  await Promise.all([turns.take('b', async () => void order.push('b')), all])
  assert.deepEqual(order, ['all', 'b'])
  await assert.rejects(
    turns.takeAll(['a'], async () => {
      throw new Error('failed')
    }),
    /failed/,
  )
  await turns.take('a', async () => void order.push('a'))
  assert.deepEqual(order, ['all', 'b', 'a'])
})
