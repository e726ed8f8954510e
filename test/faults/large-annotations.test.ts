import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { imageDocument, mediaTypes, typed, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { record, RegistryClient } from '../registry-client.ts'

const MEBIBYTE = 1024 * 1024
const PAGE_LIMIT_BYTES = 4 * MEBIBYTE
const ARTIFACTS = 40
/** Far more than one page, for memory is not given back at once, and far less than all rows with what is made of them. */
const GROWTH_LIMIT_BYTES = 256 * MEBIBYTE

test('referrers with megabytes of annotations are listed, and served, without keeping them all in memory', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const name = uniqueName('faults')
  const config = typed(await client.pushBlob(name, Buffer.from('{}')), mediaTypes.empty)
  const { descriptor: subject } = await client.pushImage(name)
  const pushed: string[] = []
  for (let index = 0; index < ARTIFACTS; index++) {
    const annotations = { index: String(index), padding: 'x'.repeat(3.9 * MEBIBYTE) }
    const document = imageDocument(config, [], { subject, artifactType: 'application/x', annotations })
    pushed.push((await client.pushManifest(name, document, mediaTypes.image)).digest)
  }
  // Pushing takes memory too, and only the peak of a process is known.
  await registry.stop()
  await registry.start()
  await client.get('/v2/')
  const before = await peakBytes(registry)

  const listed: unknown[] = []
  let next: string | undefined = `/v2/${name}/referrers/${subject.digest}`
  while (next !== undefined) {
    const page = await client.get(next)
    assert.equal(page.status, 200)
    assert.ok(page.body.length <= PAGE_LIMIT_BYTES, `${page.body.length} bytes in one page`)
    const { manifests } = record(page.json())
    assert.ok(Array.isArray(manifests))
    listed.push(...manifests.map((descriptor) => record(descriptor)['digest']))
    next = client.next(page)
  }
  assert.deepEqual(listed, pushed.toSorted())
  const tagged = await client.get(`/v2/${name}/manifests/${subject.digest.replace(':', '-')}`)
  assert.equal(tagged.status, 200)
  assert.ok(tagged.body.length <= PAGE_LIMIT_BYTES, `${tagged.body.length} bytes under the tag`)
  for (const digest of pushed) assert.equal((await client.head(`/v2/${name}/manifests/${digest}`)).status, 200)
  const grown = (await peakBytes(registry)) - before
  t.diagnostic(`the server has grown by ${Math.round(grown / MEBIBYTE)} MiB`)
  assert.ok(grown < GROWTH_LIMIT_BYTES, `the server has grown by ${grown} bytes`)
})

/** The most memory that the server ever had in use, in bytes (proc_pid_status(5), VmHWM). */
async function peakBytes(registry: TestRegistry): Promise<number> {
  const status = await readFile(`/proc/${registry.pid()}/status`, 'utf8')
  const kibibytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1])
  assert.ok(kibibytes > 0, status)
  return kibibytes * 1024
}
