import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { address, delay, duration, headers, interval, regularExpression } from './values.ts'

test('a length of time is read as Go writes it', () => {
  const cases: [string, number][] = [
    ['0s', 0],
    ['10s', 10_000],
    ['1h30m', 5_400_000],
    ['168h', 604_800_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['1m0.5s', 60_500],
    ['2h45m30.5s', 9_930_500],
  ]
  for (const [text, durationMs] of cases) assert.equal(duration.parse(text), durationMs, text)
})

test('what is no length of time is refused', () => {
  for (const text of ['', '10', 's', '10 s', '-1s', '1d', '1h30', '1,5h', '1e3s', 'h1', '10s ']) {
    assert.equal(duration.safeParse(text).success, false, JSON.stringify(text))
  }
  for (const value of [10, null, true, ['10s']]) assert.equal(duration.safeParse(value).success, false)
})

test('a length of time that is written down reads as the same', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2_000_000_000_000 }), (durationMs) => {
      assert.equal(duration.parse(duration.encode(durationMs)), durationMs)
    }),
  )
})

test('a timer is no longer than Node.js can wait, since it would fire at once', () => {
  assert.equal(delay.parse('596h'), 2_145_600_000)
  assert.equal(delay.safeParse('597h').success, false)
  assert.equal(delay.parse('0s'), 0)
  assert.equal(interval.parse('1ms'), 1)
  for (const text of ['0s', '999us', '720h']) assert.equal(interval.safeParse(text).success, false, text)
})

test('an address is a host and a port', () => {
  const cases: [string, string, number][] = [
    [':5000', '', 5000],
    ['127.0.0.1:0', '127.0.0.1', 0],
    ['[::1]:65535', '::1', 65_535],
    ['localhost:5000', 'localhost', 5000],
    ['a-b.example:1', 'a-b.example', 1],
  ]
  for (const [text, host, port] of cases) {
    assert.deepEqual(address.parse(text), { host, port }, text)
    assert.equal(address.encode({ host, port }), text)
  }
  for (const text of [
    '',
    '5000',
    'localhost',
    'localhost:',
    ':65536',
    ':-1',
    '::1:5000',
    'a b:1',
    'http://a:1',
    '[::1]',
  ]) {
    assert.equal(address.safeParse(text).success, false, text)
  }
})

test('a regular expression is made once, and written down as it was', () => {
  for (const source of ['^https://a/', '[/]', '[\\\\/]', '\\\\/', '\\d+', '(?:)']) {
    const pattern = regularExpression.parse(source)
    assert.ok(pattern instanceof RegExp)
    assert.equal(regularExpression.encode(pattern), source)
  }
  assert.equal(regularExpression.safeParse('(').success, false)
})

test('headers that could not be sent, or that carry the message itself, are refused', () => {
  assert.deepEqual(headers.parse({ 'X-One': ['1', ''], Vary: ['a, b'] }), { 'X-One': ['1', ''], Vary: ['a, b'] })
  for (const name of ['', 'X One', 'X:', 'é', 'x\n', 'Connection', 'content-length', 'Transfer-Encoding', 'TE']) {
    assert.equal(headers.safeParse({ [name]: ['1'] }).success, false, JSON.stringify(name))
  }
  for (const value of ['a\nb', 'a\rb', '\0', '中', 'single']) {
    assert.equal(headers.safeParse({ 'X-One': value === 'single' ? value : [value] }).success, false, value)
  }
})
