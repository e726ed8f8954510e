import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, mediaTypes, unknownDigest } from '../content.ts'
import { freePort, startRegistry } from '../harness.ts'
import { assertContent, assertRefused, RegistryClient } from '../registry-client.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

test('an address that others can reach is refused until it is said what anyone may do', async (t) => {
  const file = await writeConfig(await temporaryFolder(t), 'version: 0.1\n')
  for (const host of ['', '0.0.0.0', '[::]', '192.0.2.1']) {
    const env = { REGISTRY_HTTP_ADDR: `${host}:${await freePort()}` }
    const { code, stderr } = await entrepot(['serve', file], { env })
    assert.equal(code, 1)
    assert.match(stderr, /REGISTRY_HTTP_ADDR \(http\.addr\): .* can be reached from other machines/)
    assert.match(stderr, /auth:\n {6}anonymous: \[pull\]/, 'what to write')
  }
})

test('where anyone may only pull, everything else is denied, and what is there is served', async (t) => {
  const before = await startRegistry(t)
  const { descriptor, bytes } = await new RegistryClient(before.url).pushImage('library/app', { reference: 'one' })
  await before.stop()
  const registry = await startRegistry(t, {
    listen: '0.0.0.0',
    config: { auth: { anonymous: ['pull'] }, storage: { filesystem: { rootdirectory: before.dataDirectory } } },
  })
  const client = new RegistryClient(registry.url)

  const pulled = await client.get('/v2/library/app/manifests/one')
  assertContent(pulled, { bytes, digest: descriptor.digest, mediaType: mediaTypes.image })
  assert.equal((await client.get('/v2/library/app/tags/list')).status, 200)
  assert.equal((await client.get('/v2/')).status, 200)

  const { digest } = descriptor
  const blob = unknownDigest()
  const denied: [string, string][] = [
    ['PUT', '/v2/library/app/manifests/two'],
    ['PUT', `/v2/library/app/manifests/${digest}`],
    ['DELETE', '/v2/library/app/manifests/one'],
    ['DELETE', `/v2/library/app/manifests/${digest}`],
    ['DELETE', `/v2/library/app/blobs/${blob}`],
    ['POST', '/v2/library/app/blobs/uploads/'],
    ['POST', `/v2/library/new/blobs/uploads/?digest=${blob}`],
    ['POST', `/v2/library/new/blobs/uploads/?mount=${blob}&from=library/app`],
    ['GET', '/v2/library/app/blobs/uploads/00000000-0000-0000-0000-000000000000'],
    ['PATCH', '/v2/library/app/blobs/uploads/00000000-0000-0000-0000-000000000000'],
    ['PUT', `/v2/library/app/blobs/uploads/00000000-0000-0000-0000-000000000000?digest=${blob}`],
    ['DELETE', '/v2/library/app/blobs/uploads/00000000-0000-0000-0000-000000000000'],
    ['GET', '/v2/_catalog'],
    ['GET', '/metrics'],
  ]
  for (const [method, path] of denied) {
    const body = method === 'PUT' ? bytes : undefined
    const answer = await client.request(method, path, {
      headers: { 'Content-Type': mediaTypes.image },
      ...(body && { body }),
    })
    assertRefused(answer, 403, 'DENIED')
  }
  assertContent(await client.get('/v2/library/app/manifests/one'), { bytes, digest: digestOf(bytes) })
  assert.equal((await client.head('/v2/library/app/manifests/two')).status, 404)
})

test('where anyone may do nothing, nothing is read either', async (t) => {
  const registry = await startRegistry(t, { config: { auth: { anonymous: [] } } })
  const client = new RegistryClient(registry.url)
  for (const path of ['manifests/one', `blobs/${unknownDigest()}`, 'tags/list', `referrers/${unknownDigest()}`]) {
    assertRefused(await client.get(`/v2/library/app/${path}`), 403, 'DENIED')
  }
  assert.equal((await client.get('/healthz')).status, 200)
  assert.equal((await client.get('/readyz')).status, 200)
})
