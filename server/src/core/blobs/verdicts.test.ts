import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@entrepot/oci'
import { Verdicts } from './verdicts.ts'

const DIGEST: Digest = `sha256:${'0'.repeat(64)}`
const SEEN = { identity: 'one', changedAt: 1 }

test('content counts as right until its age is over', (t) => {
  let passedMs = 0
  t.mock.method(performance, 'now', () => passedMs)
  const verdicts = new Verdicts(1_000)
  assert.equal(verdicts.find(DIGEST, SEEN), undefined)
  verdicts.note(DIGEST, SEEN, 'right')
  passedMs += 999
  assert.equal(verdicts.find(DIGEST, SEEN), 'right')
  passedMs += 1
  assert.equal(verdicts.find(DIGEST, SEEN), undefined)
})

test('with an age of 0 content never counts as right without being read', () => {
  const verdicts = new Verdicts(0)
  verdicts.note(DIGEST, SEEN, 'right')
  assert.equal(verdicts.find(DIGEST, SEEN), undefined)
})

test('content that was replaced or written to does not count as what was read before', () => {
  const verdicts = new Verdicts(60_000)
  verdicts.note(DIGEST, SEEN, 'right')
  assert.equal(verdicts.find(DIGEST, { ...SEEN, changedAt: 2 }), undefined)
  assert.equal(verdicts.find(DIGEST, { ...SEEN, identity: 'other' }), undefined)
  assert.equal(verdicts.find(DIGEST, SEEN), 'right')
})

test('what is wrong stays so while it is moved, and what is pushed in its place does not', () => {
  const verdicts = new Verdicts(0)
  verdicts.note(DIGEST, SEEN, 'wrong')
  assert.equal(verdicts.find(DIGEST, { ...SEEN, changedAt: 2 }), 'wrong')
  assert.equal(verdicts.find(DIGEST, { ...SEEN, identity: 'pushed' }), undefined)
})
