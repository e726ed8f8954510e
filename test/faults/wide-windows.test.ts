import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf, imageDocument, mediaTypes, uniqueName } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { collectGarbage } from '../operations/management-request.ts'
import { assertContent, describe, RegistryClient } from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { canInject, inject } from './injection.ts'

const PATIENCE_MS = 20_000
/** How long a call takes, in microseconds, unless the tracer lets go of it: what is to come in between has time. */
const DELAY = 20_000_000

test('a manifest that is pushed again keeps the content that it found, though the collector comes before it is known', async (t) => {
  if (!canInject(t)) return
  const maintenance = { garbagecollection: { age: '0s', interval: '1h' }, trash: { age: '0s' } }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const image = await client.pushImage(name, { reference: 'latest' })
  const bytes = Buffer.concat([image.bytes, Buffer.from('\n')])
  const { digest } = await client.pushManifest(name, bytes, mediaTypes.image)
  const path = `/v2/${name}/manifests/${digest}`
  const deleted = await client.delete(path)
  assert.equal(deleted.status, 202, describe(deleted))

  const hex = digest.slice('sha256:'.length)
  const file = join(registry.dataDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex)
  const slow = await inject(t, registry.pid(), { calls: 'openat', files: [file], effect: `delay_exit=${DELAY}` })
  const pushed = client.pushManifest(name, bytes, mediaTypes.image)
  await until(
    () => slow.hits() > 0,
    PATIENCE_MS,
    () => 'the push does not look at the content that is there',
  )
  await collectGarbage(registry)
  await slow.end()
  await pushed
  assertContent(await client.get(path), { bytes, digest, mediaType: mediaTypes.image })
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

test('whoever sees a manifest that was pushed with tags sees all of them, even before the push is acknowledged', async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const bytes = imageDocument(await client.pushBlob(name), [await client.pushBlob(name)])
  const digest = digestOf(bytes)
  const references = [digest, 'one', 'two', 'three']

  const log = join(registry.dataDirectory, 'entrepot.db-wal')
  const slow = await inject(t, registry.pid(), { calls: 'fdatasync', files: [log], effect: `delay_exit=${DELAY}` })
  const pushed = client.putManifest(name, `${digest}?tag=one&tag=two&tag=three`, bytes, mediaTypes.image)
  await until(
    () => slow.hits() > 0,
    PATIENCE_MS,
    () => 'the push does not sync the log',
  )
  const statuses = await Promise.all(
    references.map(async (reference) => (await client.get(`/v2/${name}/manifests/${reference}`)).status),
  )
  assert.equal(new Set(statuses).size, 1, `${references.join()}: ${statuses.join()}`)
  await slow.end()
  const answer = await pushed
  assert.equal(answer.status, 201, describe(answer))
})
