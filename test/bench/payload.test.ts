import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { AnswerParser } from '../../bench/client/answer-parser.ts'
import { chunkedCoding, KIB, makePayload, MIB } from '../../bench/client/payload.ts'

const SIZES = [32, 33, 64 * KIB, MIB, MIB + 31, MIB + 32, 3 * MIB + 7]

test('a payload has the size and the digest that it says', () => {
  for (const size of SIZES) {
    const payload = makePayload(size)
    const bytes = Buffer.concat([...payload.read(0, size)])
    assert.equal(bytes.length, size)
    assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, payload.digest)
  }
})

test('ranges of a payload put together are the payload', () => {
  for (const size of SIZES) {
    const payload = makePayload(size)
    const whole = Buffer.concat([...payload.read(0, size)])
    for (const cut of [1, size - 33, size - 32, size - 1].filter((at) => at > 0)) {
      const parts = Buffer.concat([...payload.read(0, cut), ...payload.read(cut, size)])
      assert.ok(parts.equals(whole), `${size} bytes cut at ${cut}`)
    }
  }
})

test('no two payloads are alike', () => {
  assert.notEqual(makePayload(MIB).digest, makePayload(MIB).digest)
})

test('a payload in chunked coding decodes to itself', () => {
  const payload = makePayload(2 * MIB + 5)
  const hash = createHash('sha256')
  const parser = new AnswerParser('GET', (piece) => void hash.update(piece))
  parser.feed(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'))
  const ends = [...chunkedCoding(payload.read(0, payload.sizeBytes))].map((block) => parser.feed(block))
  assert.equal(ends.at(-1), true)
  assert.equal(`sha256:${hash.digest('hex')}`, payload.digest)
})
