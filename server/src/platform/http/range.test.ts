import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseRange } from './range.ts'

test('one range of bytes is read in each of its forms', () => {
  assert.deepEqual(parseRange('bytes=0-4', 10), { start: 0, end: 4 })
  assert.deepEqual(parseRange('bytes=5-', 10), { start: 5, end: 9 })
  assert.deepEqual(parseRange('bytes=-3', 10), { start: 7, end: 9 })
  assert.deepEqual(parseRange('bytes=-30', 10), { start: 0, end: 9 })
  assert.deepEqual(parseRange('bytes=8-100', 10), { start: 8, end: 9 })
})

test('what lies outside or is malformed cannot be satisfied', () => {
  for (const header of [
    'bytes=10-',
    'bytes=10-12',
    'bytes=-0',
    'bytes=5-4',
    'bytes=-',
    'bytes=x',
    'bytes=1',
    'bytes=',
  ]) {
    assert.equal(parseRange(header, 10), 'unsatisfiable', header)
  }
  assert.equal(parseRange('bytes=0-0', 0), 'unsatisfiable')
})

test('another unit, several ranges and no header mean the whole', () => {
  for (const header of [undefined, 'items=0-4', 'bytes=0-1,4-5', '0-4']) assert.equal(parseRange(header, 10), undefined)
})

test('a range never leaves the content, whatever the header says', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^bytes=\d*-\d*$/)), fc.nat(), (header, sizeBytes) => {
      const range = parseRange(header, sizeBytes)
      if (range === undefined || range === 'unsatisfiable') return
      assert.ok(range.start >= 0 && range.start <= range.end && range.end < sizeBytes)
    }),
  )
})
