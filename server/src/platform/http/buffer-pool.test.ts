import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferPool } from './buffer-pool.ts'

const MIB = 1024 * 1024

test('few transfers get large buffers, many get small ones, and all get large ones again afterwards', () => {
  const pool = new BufferPool()
  const taken = Array.from({ length: 100 }, () => pool.take())
  assert.equal(taken[0]?.byteLength, MIB)
  assert.equal(taken[99]?.byteLength, 64 * 1024)
  for (const [index, buffer] of taken.entries()) {
    // Every other transfer was cut off.
    if (index % 2 === 0) pool.forget()
    else pool.giveBack(buffer)
  }
  assert.equal(pool.take().byteLength, MIB)
})

test('a buffer that was given back is used again', () => {
  const pool = new BufferPool()
  const first = pool.take()
  pool.giveBack(first)
  assert.equal(pool.take(), first)
})
