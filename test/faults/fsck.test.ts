import assert from 'node:assert/strict'
import { test } from 'node:test'
import { uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { expectSound, runFsck } from './fsck.ts'
import { pushVariedStore } from './varied-store.ts'

test('a healthy registry with all that there may be is sound, while it runs and after it has ended or was killed', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  await pushVariedStore(client, uniqueName('faults'))
  await expectSound(t, registry.dataDirectory, { isOnline: true })
  await registry.kill()
  await expectSound(t, registry.dataDirectory)
  await registry.start()
  await registry.stop()
  const { checked, findings } = await runFsck(t, registry.dataDirectory)
  // What was deleted may wait for the garbage collector.
  const left = findings.filter((found) => found.kind !== 'content-unused')
  assert.deepEqual(left, [])
  const { repositories, manifests, tags, uploads } = checked
  assert.deepEqual({ repositories, manifests, tags, uploads }, { repositories: 3, manifests: 10, tags: 6, uploads: 1 })
})
