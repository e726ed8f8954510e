import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { digestOf, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { createCertificate } from './certificates.ts'
import { temporaryFolder } from './command.ts'

/** More than the buffers of both kernels hold. */
const BLOB = Buffer.alloc(1024 * 1024, 'entrepot')
const FIRST_REQUESTS = 16
const LATER_REQUESTS = 10

test('requests that come over TLS faster than their answers can go are all answered', async (t) => {
  const tls = await createCertificate(await temporaryFolder(t), 'server')
  for (const disabled of [false, true]) {
    const registry = await startRegistry(t, { scheme: 'https', config: { http: { tls, http2: { disabled } } } })
    const name = uniqueName('tls')
    const target = `/v2/${name}/blobs/${digestOf(BLOB)}`
    const { port } = new URL(registry.url)
    const options = { port: Number(port), host: '127.0.0.1', ca: await readFile(tls.certificate) }
    const push = connect({ ...options, ALPNProtocols: ['http/1.1'] })
    push.write(
      `POST /v2/${name}/blobs/uploads/?digest=${digestOf(BLOB)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n` +
        `Content-Length: ${BLOB.length}\r\n\r\n`,
    )
    push.write(BLOB)
    assert.match(await text(push), /^HTTP\/1\.1 201 /)

    const socket = connect({ ...options, ALPNProtocols: ['http/1.1'] })
    const get = `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`
    socket.write(get.repeat(FIRST_REQUESTS))
    await once(socket, 'readable')
    // Each is a record of its own; the server decrypts many of them at once, while nobody reads its answers.
    for (let sent = 0; sent < LATER_REQUESTS; sent += 1) socket.write(get)
    socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    const statuses = [...(await text(socket)).matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status)
    assert.deepEqual(
      statuses,
      Array.from({ length: FIRST_REQUESTS + LATER_REQUESTS + 1 }, () => '200'),
      `http2.disabled: ${disabled}`,
    )
  }
})
