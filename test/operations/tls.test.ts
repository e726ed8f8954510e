import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFile, readFile, rename, writeFile } from 'node:fs/promises'
import { Agent } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { startRegistry, until } from '../harness.ts'
import { createCertificate } from './certificates.ts'
import { temporaryFolder } from './command.ts'
import { logLines } from './log-lines.ts'
import { secureGet } from './secure-get.ts'

/** The files are looked at every two seconds. */
const RELOAD_TIMEOUT_MS = 15_000

async function startSecure(t: TestContext, tls: Record<string, unknown> = {}, limits: Record<string, unknown> = {}) {
  const folder = await temporaryFolder(t)
  const server = await createCertificate(folder, 'server')
  const registry = await startRegistry(t, {
    scheme: 'https',
    config: { log: { formatter: 'json' }, http: { tls: { ...server, ...tls } }, limits },
  })
  return { registry, server, folder, base: `${registry.url}/v2/` }
}

test('TLS', { concurrency: 2 }, async (t) => {
  void t.test('a certificate is served, and TLS 1.2 and 1.3 are spoken', async (t) => {
    const { server, base, registry } = await startSecure(t)
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const answer = await secureGet(base, { ca: server.certificate, minVersion: version, maxVersion: version })
      assert.deepEqual([answer.status, answer.protocol, answer.body.toString()], [200, version, '{}'])
    }
    assert.match(registry.output(), /answers on https:\/\/127\.0\.0\.1/)
  })

  void t.test('http.tls.minimumtls refuses what is older', async (t) => {
    const { server, base } = await startSecure(t, { minimumtls: 'tls1.3' })
    await assert.rejects(secureGet(base, { ca: server.certificate, maxVersion: 'TLSv1.2' }))
    assert.equal((await secureGet(base, { ca: server.certificate })).protocol, 'TLSv1.3')
  })

  void t.test('http.tls.ciphersuites limits TLS 1.2 to those named, as distribution names them', async (t) => {
    const wanted = 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256'
    const ciphersuites = ['TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256', 'TLS_RSA_WITH_AES_256_GCM_SHA384', wanted]
    const { server, base } = await startSecure(t, { ciphersuites })
    const old = { ca: server.certificate, maxVersion: 'TLSv1.2' } as const
    assert.equal((await secureGet(base, old)).cipher, wanted)
    await assert.rejects(secureGet(base, { ...old, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }))
    assert.equal((await secureGet(base, { ca: server.certificate })).protocol, 'TLSv1.3')
  })

  void t.test('with http.tls.clientcas only clients with a certificate of theirs get in', async (t) => {
    const folder = await temporaryFolder(t)
    const [known, unknown] = await Promise.all(
      ['known', 'unknown'].map(async (name) => createCertificate(folder, name)),
    )
    assert.ok(known !== undefined && unknown !== undefined)
    const { server, base } = await startSecure(t, { clientcas: [known.certificate] })
    const identity = async ({ certificate, key }: typeof known) => ({
      ca: server.certificate,
      cert: await readFile(certificate),
      key: await readFile(key),
    })
    assert.equal((await secureGet(base, await identity(known))).status, 200)
    await assert.rejects(secureGet(base, await identity(unknown)))
    await assert.rejects(secureGet(base, { ca: server.certificate }))
    assert.equal((await secureGet(base, await identity(known))).status, 200)
  })

  void t.test('plain HTTP to the port of TLS is closed at once, and the log says what it was', async (t) => {
    const { registry, server, base } = await startSecure(t)
    const socket = connect(Number(new URL(base).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.setTimeout(5_000, () => socket.destroy(new Error('it hangs')))
    socket.write('GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n')
    assert.equal((await buffer(socket)).toString(), '')
    await until(
      () => logLines(registry.output()).some((line) => line['reason'] === 'ERR_SSL_HTTP_REQUEST'),
      5_000,
      () => registry.output(),
    )
    assert.equal((await secureGet(base, { ca: server.certificate })).status, 200)
  })

  void t.test('a handshake that does not come in time is cut', async (t) => {
    const { base } = await startSecure(t, {}, { headertimeout: '300ms' })
    const socket = connect(Number(new URL(base).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.setTimeout(10_000, () => socket.destroy(new Error('it hangs')))
    socket.resume()
    const [isBroken] = await once(socket, 'close')
    assert.equal(isBroken, false)
  })
})

test('a changed certificate is taken up without a restart, and a broken one is not', { concurrency: 2 }, async (t) => {
  void t.test('old connections go on, new ones see the new certificate, then the last good one', async (t) => {
    const { registry, server, folder, base } = await startSecure(t)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    const old = { certificate: join(folder, 'old.pem') }
    await copyFile(server.certificate, old.certificate)
    const first = await secureGet(base, { ca: old.certificate, agent })

    const renewed = await createCertificate(folder, 'renewed')
    await Promise.all([rename(renewed.certificate, server.certificate), rename(renewed.key, server.key)])
    await until(
      async () =>
        secureGet(base, { ca: server.certificate }).then(
          ({ fingerprint }) => fingerprint !== first.fingerprint,
          () => false,
        ),
      RELOAD_TIMEOUT_MS,
      () => `the new certificate is not served:\n${registry.output()}`,
    )
    const kept = await secureGet(base, { ca: old.certificate, agent })
    assert.equal(kept.fingerprint, first.fingerprint, 'the connection from before')

    const good = join(folder, 'good.pem')
    await copyFile(server.certificate, good)
    await writeFile(server.certificate, '-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n')
    const refusal = () => logLines(registry.output()).find((line) => /old one stays/.test(String(line['msg'])))
    await until(
      () => refusal() !== undefined,
      RELOAD_TIMEOUT_MS,
      () => `no refusal is logged:\n${registry.output()}`,
    )
    assert.equal(refusal()?.['level'], 'error')
    assert.equal((await secureGet(base, { ca: good })).status, 200)
    assert.equal(await registry.stop(), 0)
  })

  void t.test('a file that is gone for a while changes nothing, and what comes back is taken up', async (t) => {
    const { registry, server, folder, base } = await startSecure(t)
    const away = join(folder, 'away.pem')
    await rename(server.certificate, away)
    await until(
      () => /old one stays/.test(registry.output()),
      RELOAD_TIMEOUT_MS,
      () => `no refusal is logged:\n${registry.output()}`,
    )
    assert.equal((await secureGet(base, { ca: away })).status, 200)
    await rename(away, server.certificate)
    await until(
      () => /was reloaded/.test(registry.output()),
      RELOAD_TIMEOUT_MS,
      () => `it is not taken up again:\n${registry.output()}`,
    )
    assert.equal((await secureGet(base, { ca: server.certificate })).status, 200)
  })
})
