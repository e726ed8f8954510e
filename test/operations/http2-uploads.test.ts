import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, randomBlob, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { createCertificate } from './certificates.ts'
import { temporaryFolder } from './command.ts'
import { Http2Client } from './http2-client.ts'
import { openSlowLine } from './slow-line.ts'

const DELAY_MS = 20
const BODY_BYTES = 8 * 1024 * 1024
/** What HTTP/2 lets come before the receiver asks for more, unless that says otherwise (RFC 9113, section 6.9.2). */
const DEFAULT_WINDOW_BYTES = 65_535

test('an upload over HTTP/2 does not wait for the line after every 64 KiB', async (t) => {
  const certificate = await createCertificate(await temporaryFolder(t), 'server')
  const registry = await startRegistry(t, { scheme: 'https', config: { http: { tls: certificate } } })
  const port = await openSlowLine(t, Number(new URL(registry.url).port), DELAY_MS)
  const client = await Http2Client.connect(t, `https://127.0.0.1:${port}`, certificate.certificate)
  const bytes = randomBlob(BODY_BYTES)
  const begun = await client.request('POST', `/v2/${uniqueName('h2')}/blobs/uploads/`)
  const location = `${String(begun.headers['location'])}?digest=${digestOf(bytes)}`

  const startedAt = performance.now()
  const answer = await client.request('PUT', location, { body: bytes })
  const elapsedMs = performance.now() - startedAt

  assert.equal(answer.status, 201, answer.body.toString())
  const roundTrips = elapsedMs / (2 * DELAY_MS)
  const withDefaults = BODY_BYTES / DEFAULT_WINDOW_BYTES
  assert.ok(roundTrips < withDefaults / 2, `it took the time of ${roundTrips} round trips; by default ${withDefaults}`)
})

test('a Content-Range with a space at its end is refused over HTTP/2, and not overlooked', async (t) => {
  const certificate = await createCertificate(await temporaryFolder(t), 'server')
  const registry = await startRegistry(t, { scheme: 'https', config: { http: { tls: certificate } } })
  const client = await Http2Client.connect(t, registry.url, certificate.certificate)
  const begun = await client.request('POST', `/v2/${uniqueName('h2')}/blobs/uploads/`)
  const bytes = randomBlob(100)
  const headers = { 'content-range': '500-599 ' }
  const answer = await client.request('PATCH', String(begun.headers['location']), { headers, body: bytes })
  assert.equal(answer.status, 416, answer.body.toString())
})
