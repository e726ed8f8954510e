import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnswerParser } from '../../bench/client/answer-parser.ts'

const WITH_LENGTH = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDocker-Content-Digest: sha256:abc\r\n\r\nhello'
const CHUNKED =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n12;note=x\r\nefghijklmnopqrstuv\r\n0\r\n\r\n'

test('a body with a length is read, however the network cuts it', () => {
  for (const pieceBytes of everyCutOf(WITH_LENGTH)) {
    const { parser, body } = readInPieces(WITH_LENGTH, pieceBytes)
    assert.equal(body, 'hello', `pieces of ${pieceBytes}`)
    assert.equal(parser.bodyBytes, 5)
    assert.equal(parser.head?.status, 200)
    assert.equal(parser.head?.headers.get('docker-content-digest'), 'sha256:abc')
  }
})

test('a chunked body is read without its coding, however the network cuts it', () => {
  for (const pieceBytes of everyCutOf(CHUNKED)) {
    const { parser, body } = readInPieces(CHUNKED, pieceBytes)
    assert.equal(body, 'abcdefghijklmnopqrstuv', `pieces of ${pieceBytes}`)
    assert.equal(parser.bodyBytes, 22)
  }
})

test('an answer to HEAD ends with its head, whatever length it names', () => {
  const parser = new AnswerParser('HEAD')
  assert.equal(parser.feed(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')), true)
  assert.equal(parser.head?.headers.get('content-length'), '5')
})

test('several lines of one header are one value', () => {
  const parser = new AnswerParser('PUT')
  parser.feed(Buffer.from('HTTP/1.1 201 Created\r\nOCI-Tag: a\r\nContent-Length: 0\r\noci-tag: b\r\n\r\n'))
  assert.equal(parser.head?.headers.get('oci-tag'), 'a, b')
})

test('204 has no body', () => {
  const parser = new AnswerParser('DELETE')
  assert.equal(parser.feed(Buffer.from('HTTP/1.1 204 No Content\r\n\r\n')), true)
})

test('bytes after the end of an answer are an error', () => {
  const parser = new AnswerParser('GET')
  assert.throws(() => parser.feed(Buffer.from(`${WITH_LENGTH}!`)), /1 bytes follow/)
})

test('what is not HTTP is an error', () => {
  const parser = new AnswerParser('GET')
  assert.throws(() => parser.feed(Buffer.from('SSH-2.0-OpenSSH\r\n\r\n')), /no HTTP/)
})

function everyCutOf(text: string): readonly number[] {
  return Array.from(text, (_, index) => index + 1)
}

/** Feeds the text piece by piece from one buffer that is overwritten, as the connection does. */
function readInPieces(text: string, pieceBytes: number) {
  let body = ''
  const parser = new AnswerParser('GET', (piece) => void (body += piece.toString()))
  const all = Buffer.from(text)
  const reused = Buffer.alloc(pieceBytes)
  for (let at = 0; at < all.length; at += pieceBytes) {
    const length = all.copy(reused, 0, at, at + pieceBytes)
    const isComplete = parser.feed(reused.subarray(0, length))
    assert.equal(isComplete, at + length === all.length)
  }
  return { parser, body }
}
