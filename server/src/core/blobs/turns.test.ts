import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '@entrepot/oci'
import { Turns } from './turns.ts'

test('work for one key goes one after the other, in the order it came', async () => {
  const turns = new Turns(5_000)
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
  const turns = new Turns(5_000)
  const held = Promise.withResolvers<void>()
  const first = turns.take('one', async () => held.promise)
  assert.equal(await turns.take('two', async () => 'done'), 'done')
  held.resolve()
  await first
})

test('work that failed lets the next one begin', async () => {
  const turns = new Turns(5_000)
  const failed = turns.take('key', async () => {
    throw new Error('no luck')
  })
  const next = turns.take('key', async () => 'next')
  await assert.rejects(failed, /no luck/)
  assert.equal(await next, 'next')
})

test('who waits too long is told to try again, and those behind still get their turn', async () => {
  const turns = new Turns(20)
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
