import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { randomBlob, uniqueName } from '../content.ts'
import { type RegistryClient, exchangeRaw, startClient } from '../registry-client.ts'

const CLOSING = 'Host: a\r\nConnection: close\r\n'

test('HTTP messages', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)
  const name = uniqueName()
  const blob = await client.pushBlob(name, randomBlob(300_000))

  void t.test('RFC 9112 "Request Target": a URL in absolute form is answered as the path alone', async () => {
    for (const [target, status] of [
      ['http://registry.test/v2/', 200],
      ['HTTP://registry.test:5000/v2?x', 200],
      [`https://[::1]:5000/v2/${name}/tags/list`, 200],
      [`http://registry.test/v2/${name}/blobs/${blob.digest}`, 200],
      [`http://registry.test/v2/${name.replace('/', '%2F')}/tags/list`, 400],
      ['http://registry.test', 200],
      ['http://registry.test/nothing', 404],
    ] as const) {
      const answer = await exchangeRaw(client.origin, `GET ${target} HTTP/1.1\r\n${CLOSING}\r\n`)
      assert.equal(statusOf(answer), status, target)
    }
  })

  void t.test('RFC 9112 "Request Target": a request without one valid Host header is refused', async () => {
    for (const lines of ['', 'Host: a\r\nHost: a\r\n', 'Host: a\r\nHost: b\r\n', 'Host: a/b\r\n', 'Host: a b\r\n']) {
      await assertRefusedRaw(client, `GET /v2/ HTTP/1.1\r\n${lines}Connection: close\r\n\r\n`, 400)
    }
    for (const host of ['', 'a', 'a:5000', '[::1]', '[::1]:5000', 'xn--a.b_c']) {
      const answer = await exchangeRaw(client.origin, `GET /v2/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
      assert.equal(statusOf(answer), 200, host)
    }
    assert.equal(statusOf(await exchangeRaw(client.origin, 'GET /v2/ HTTP/1.0\r\n\r\n')), 200)
  })

  void t.test('RFC 9112 "HTTP Version": a version that is none of this kind is refused', async () => {
    await assertRefusedRaw(client, 'GET /v2/\r\n\r\n', 400)
    for (const version of ['HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/3.0'])
      await assertRefusedRaw(client, `GET /v2/ ${version}\r\n${CLOSING}\r\n`, 400)
  })

  void t.test('RFC 9112 "Transfer-Encoding": chunks do not belong in HTTP/1.0 and end the connection', async () => {
    const chunked = 'Host: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    await assertRefusedRaw(client, `POST /v2/${name}/blobs/uploads/ HTTP/1.0\r\n${chunked}`, 400)
  })

  void t.test('RFC 9110 "Expect": an expectation that cannot be met is refused with an error body', async () => {
    await assertRefusedRaw(client, `GET /v2/ HTTP/1.1\r\n${CLOSING}Expect: x\r\n\r\n`, 417)
  })

  void t.test('RFC 9110 "CONNECT": a tunnel is refused with an error body', async () => {
    await assertRefusedRaw(client, 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n', 405)
  })

  void t.test(
    'RFC 9110 "CONNECT": a client that resets the connection after its refusal ends nothing else',
    async () => {
      const socket = connect(Number(new URL(client.origin).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n')
      await once(socket, 'data')
      socket.resetAndDestroy()
      for (let round = 0; round < 3; round++)
        assert.equal(statusOf(await exchangeRaw(client.origin, `GET /v2/ HTTP/1.1\r\n${CLOSING}\r\n`)), 200)
    },
  )

  void t.test('RFC 9110 "HEAD": a broken HEAD request is refused without a body', async () => {
    const answer = await exchangeRaw(client.origin, `HEAD /v2/\u007f HTTP/1.1\r\n${CLOSING}\r\n`)
    assert.equal(statusOf(answer), 400)
    assert.equal(answer.indexOf('\r\n\r\n'), answer.length - 4)
  })

  void t.test('RFC 9112 "Pipelining": bytes that are no request change no answer to those before', async () => {
    const request = `GET /v2/${name}/blobs/${blob.digest} HTTP/1.1\r\nHost: a\r\n\r\n`
    const answer = await exchangeRaw(client.origin, `${request}${request}GARBAGE\r\n\r\n`)
    const length = answer.indexOf('\r\n\r\n') + 4 + blob.size
    const statuses = [0, length, 2 * length].map((start) => statusOf(answer.slice(start)))
    assert.deepEqual(statuses, [200, 200, 400])
  })

  void t.test('RFC 9112 "Message Body": a body that breaks after the answer brings no second answer', async () => {
    const head = `POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n`
    const answer = await exchangeRaw(client.origin, `${head}a`, true)
    assert.equal(answer.split('HTTP/1.1 ').length, 2, answer)
  })

  void t.test('RFC 9112 "Tear-down": a client that is still sending gets to read the refusal', async () => {
    const large = `x: ${'y'.repeat(4_000_000)}\r\n`
    await assertRefusedRaw(client, `GET /v2/ HTTP/1.1\r\n${CLOSING}${large}\r\n`, 431)
  })
})

async function assertRefusedRaw(client: RegistryClient, request: string, status: number): Promise<void> {
  const answer = await exchangeRaw(client.origin, request)
  const shown = request.slice(0, 200)
  assert.equal(statusOf(answer), status, shown)
  assert.match(answer, /\r\nconnection: close\r\n/i, shown)
  assert.match(answer, /\r\ncontent-type: application\/json; charset=utf-8\r\n/i, shown)
  assert.match(answer, /\r\n\r\n\{"errors":\[\{"code":"UNSUPPORTED","message":"[^"]+"\}\]\}$/, shown)
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])
}
