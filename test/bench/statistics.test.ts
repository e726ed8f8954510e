import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advantage, median, percentile } from '../../bench/report/statistics.ts'

test('the median of an odd number of values is the middle one, whatever their order', () => {
  assert.equal(median([9, 1, 5]), 5)
  assert.equal(median([10, 9, 100]), 10)
})

test('the median of an even number of values lies between the two middle ones', () => {
  assert.equal(median([4, 1, 3, 100]), 3.5)
})

test('the median of nothing is no number', () => {
  assert.ok(Number.isNaN(median([])))
})

test('more requests a second are an advantage above 1', () => {
  assert.deepEqual(advantage([200, 300, 400], [100, 100, 100], 'req/s'), { median: 3, lowest: 2, highest: 4 })
})

test('fewer milliseconds are an advantage above 1', () => {
  assert.deepEqual(advantage([2, 2, 2], [4, 6, 8], 'ms'), { median: 3, lowest: 2, highest: 4 })
})

test('the 99th percentile is what one in a hundred exceeds', () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index)
  assert.equal(percentile(values, 0.99), 198)
  assert.equal(percentile([7], 0.99), 7)
  assert.ok(Number.isNaN(percentile([], 0.99)))
})

test('more memory is an advantage below 1', () => {
  assert.equal(advantage([200], [50], 'MiB')?.median, 0.25)
})

test('a slow round hits both servers and does not change the ratio', () => {
  const ratio = advantage([1000, 10, 1000], [500, 5, 500], 'MB/s')
  assert.deepEqual(ratio, { median: 2, lowest: 2, highest: 2 })
})

test('servers with different numbers of rounds are not compared', () => {
  assert.equal(advantage([1, 2], [1], 'ms'), undefined)
  assert.equal(advantage([], [], 'ms'), undefined)
})
