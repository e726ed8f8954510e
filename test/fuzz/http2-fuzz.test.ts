import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { byTier } from '../faults/tier.ts'
import { startRegistry } from '../harness.ts'
import { createCertificate } from '../operations/certificates.ts'
import { temporaryFolder } from '../operations/command.ts'
import { Random } from '../random.ts'
import { assertContent } from '../registry-client.ts'
import { assertNoTrace } from './disk.ts'
import { pushFixture } from './fixture.ts'
import { FuzzClient } from './fuzz-client.ts'
import { Http2RegistryClient } from './http2-registry-client.ts'
import { Ledger } from './ledger.ts'
import { runCase, runCases } from './runner.ts'

const REQUESTS = Number(process.env['ENTREPOT_FUZZ_REQUESTS'] ?? byTier({ quick: 3_000, ci: 20_000, release: 400_000 }))

test('generated requests over HTTP/2, and raw bytes over TLS, are answered as over HTTP/1.1', async (t) => {
  const seed = process.env['ENTREPOT_FUZZ_SEED'] ?? randomBytes(6).toString('hex')
  t.diagnostic(`ENTREPOT_FUZZ_SEED=${seed} ENTREPOT_FUZZ_REQUESTS=${REQUESTS}`)
  const tls = await createCertificate(await temporaryFolder(t), 'server')
  const registry = await startRegistry(t, { scheme: 'https', config: { http: { tls } } })
  const certificate = await readFile(tls.certificate)
  const http2 = new Http2RegistryClient(registry.url, certificate)
  const client = new FuzzClient(http2, certificate)
  t.after(() => {
    client.close()
    http2.close()
  })
  const ledger = new Ledger()
  const fixture = await pushFixture(http2, new Random(seed), ledger)
  const options = { seed, client, ledger, fixture }
  const only = process.env['ENTREPOT_FUZZ_CASE']
  if (only !== undefined) {
    assert.equal(await runCase(options, Number(only)), undefined)
    return
  }

  const { failures } = await runCases(options, { first: 0, requests: REQUESTS })
  t.diagnostic(
    `${client.requests} requests, ${client.rawRequests} as raw bytes; the slowest took ${Math.round(client.slowestMs)} ms`,
  )
  assert.equal(failures.join('\n\n'), '')
  await assertNoTrace(registry.dataDirectory, ledger)
  for (const content of ledger.held) {
    assertContent(await http2.get(`/v2/${content.repository}/${content.kind}/${content.digest}`), content)
  }
  assert.doesNotMatch(registry.output(), /a request failed/)
})
