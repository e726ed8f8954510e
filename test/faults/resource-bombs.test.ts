import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { residentMebibytesOf } from '../../bench/servers/process-tree.ts'
import {
  digestOf,
  imageDocument,
  indexDocument,
  mediaTypes,
  randomBlob,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import { type TestRegistry, startRegistry } from '../harness.ts'
import {
  type Answer,
  RegistryClient,
  assertContent,
  assertRefused,
  describe,
  record,
  strings,
} from '../registry-client.ts'
import { expectSound } from './fsck.ts'
import { byTier } from './tier.ts'

const pack = promisify(gzip)

const tagsOf = (answer: Answer) => strings(record(answer.json())['tags'])

const MEBIBYTE = 1024 * 1024
const REFERRERS = byTier({ quick: 600, ci: 10_000, release: 100_000 })
const TAGS = byTier({ quick: 5_000, ci: 100_000, release: 100_000 })
const UPLOADS = byTier({ quick: 500, ci: 10_000, release: 10_000 })
const TAGS_PER_PUSH = 100
const LANES = 24
const MAX_GROWTH_MIB = 256
const MAX_MS = 60_000
/** How long others wait at most, on a machine that has other things to do. */
const MAX_WAIT_MS = 5_000

interface Bomb {
  readonly client: RegistryClient
  readonly name: string
  /** Sets the clock to zero, once all that is needed beforehand is there. */
  readonly begin: () => void
}

/** What is sent, and how it has to end. */
const BOMBS: Readonly<Record<string, (bomb: Bomb) => Promise<void>>> = {
  'manifests of one byte more than 4 MiB': async ({ client, name }) => {
    const bytes = Buffer.alloc(4 * MEBIBYTE + 1, ' ')
    await inLanes(50, async () =>
      assertRefused(await client.putManifest(name, 'large', bytes, mediaTypes.image), 413, 'SIZE_INVALID'),
    )
  },
  'manifests of 100,000 levels': async ({ client, name }) => {
    const depth = 100_000
    for (const text of [`${'['.repeat(depth)}${']'.repeat(depth)}`, `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`]) {
      await inLanes(20, async () =>
        assertRefused(await client.putManifest(name, 'deep', text, mediaTypes.image), 400, 'MANIFEST_INVALID'),
      )
    }
  },
  'an index of an index of 60 levels': async ({ client, name }) => {
    let { descriptor } = await client.pushImage(name)
    const statuses: number[] = []
    for (let level = 0; level < 60; level += 1) {
      const bytes = indexDocument([descriptor])
      const answer = await client.putManifest(name, digestOf(bytes), bytes, mediaTypes.index)
      statuses.push(answer.status)
      descriptor = { mediaType: mediaTypes.index, digest: digestOf(bytes), size: bytes.length }
    }
    const taken = statuses.filter((status) => status === 201).length
    assert.ok(taken > 0 && taken < 60, `${taken} levels were taken`)
    assert.deepEqual(
      statuses.slice(taken),
      statuses.slice(taken).map(() => 400),
    )
  },
  'an index that lists an image 10,000 times, once more, and what is not there as often': async ({ client, name }) => {
    const { descriptor } = await client.pushImage(name)
    const listing = (count: number) => Array.from({ length: count }, () => descriptor)
    await client.pushManifest(name, indexDocument(listing(10_000)), mediaTypes.index, { reference: 'many' })
    const more = await client.putManifest(name, 'more', indexDocument(listing(10_001)), mediaTypes.index)
    assertRefused(more, 400, 'MANIFEST_INVALID')
    const absent = listing(10_000).map((listed) => ({ ...listed, digest: unknownDigest() }))
    const answer = await client.putManifest(name, 'absent', indexDocument(absent), mediaTypes.index)
    assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN')
    assert.ok(answer.body.length < 64 * 1024, `${answer.body.length} bytes tell what is missing`)
  },
  [`${REFERRERS} referrers of one image`]: async ({ client, name, begin }) => {
    const { descriptor } = await client.pushImage(name)
    const config = await client.pushBlob(name)
    const expected = await inLanes(REFERRERS, async (number) => {
      const bytes = imageDocument(config, [], { subject: descriptor, annotations: { number: String(number) } })
      return (await client.pushManifest(name, bytes, mediaTypes.image)).digest
    })
    begin()
    const listed = await listPages(client, `/v2/${name}/referrers/${descriptor.digest}`, (answer) => {
      assert.ok(answer.body.length <= 4 * MEBIBYTE, `a page of ${answer.body.length} bytes`)
      const { manifests } = record(answer.json())
      assert.ok(Array.isArray(manifests))
      return strings(manifests.map((entry: unknown) => record(entry)['digest']))
    })
    assert.deepEqual(listed, expected.toSorted())
  },
  [`${TAGS} tags`]: async ({ client, name }) => {
    const { bytes, descriptor } = await client.pushImage(name)
    const tags = Array.from({ length: TAGS }, (_, number) => `tag-${String(number).padStart(6, '0')}`)
    await inLanes(TAGS / TAGS_PER_PUSH, async (push) => {
      const pushed = tags.slice(push * TAGS_PER_PUSH, (push + 1) * TAGS_PER_PUSH)
      const reference = `${descriptor.digest}?${pushed.map((tag) => `tag=${tag}`).join('&')}`
      const answer = await client.putManifest(name, reference, bytes, mediaTypes.image)
      assert.equal(answer.status, 201, describe(answer))
    })
    assert.deepEqual(tagsOf(await client.get(`/v2/${name}/tags/list`)), tags)
    assert.deepEqual(await listPages(client, `/v2/${name}/tags/list?n=500`, tagsOf), tags)
  },
  'headers of more than 16 KiB, and names and tags without an end': async ({ client, name }) => {
    await inLanes(100, async () => {
      assertRefused(await client.get('/v2/', { 'X-Large': 'a'.repeat(20_000) }), 431)
      assertRefused(
        await client.get(`/v2/${'a/'.repeat(3_000)}a/tags/list`),
        [400, 404],
        ['NAME_INVALID', 'NAME_UNKNOWN'],
      )
      assertRefused(await client.get(`/v2/${'a'.repeat(20_000)}/tags/list`), [414, 431])
      assertRefused(await client.get(`/v2/${name}/manifests/${'a'.repeat(5_000)}`), [400, 404])
    })
  },
  'bodies that would be large if anybody unpacked them': async ({ client, name }) => {
    const packed = await pack(Buffer.alloc(200 * MEBIBYTE))
    const headers = { 'Content-Encoding': 'gzip', 'Content-Type': mediaTypes.image }
    await inLanes(20, async () => {
      const answer = await client.request('PUT', `/v2/${name}/manifests/packed`, { headers, body: packed })
      assertRefused(answer, [400, 415], ['MANIFEST_INVALID', 'UNSUPPORTED'])
    })
    const target = `/v2/${name}/blobs/uploads/?digest=${digestOf(packed)}`
    const pushed = await client.post(target, { headers: { 'Content-Encoding': 'gzip' }, body: packed })
    assert.equal(pushed.status, 201, describe(pushed))
    assertContent(await client.get(`/v2/${name}/blobs/${digestOf(packed)}`), {
      bytes: packed,
      digest: digestOf(packed),
    })
  },
  [`${UPLOADS} uploads that are never closed`]: async ({ client, name }) => {
    const statuses = await inLanes(UPLOADS + 50, async () => (await client.post(`/v2/${name}/blobs/uploads/`)).status)
    assert.equal(statuses.filter((status) => status === 202).length, UPLOADS)
    assert.equal(statuses.filter((status) => status === 429).length, 50)
    // A push in one request needs no upload.
    const bytes = randomBlob()
    const answer = await client.post(`/v2/${name}/blobs/uploads/?digest=${digestOf(bytes)}`, { body: bytes })
    assert.equal(answer.status, 201, describe(answer))
  },
}

test('what is as large, deep, long or many as can be ends in time, without much memory, and others go on', async (t) => {
  const registry = await startRegistry(t, {
    config: { log: { level: 'warn' }, limits: { uploads: UPLOADS, pagesize: 500 } },
  })
  const client = new RegistryClient(registry.url)
  const other = uniqueName('others')
  await client.pushImage(other, { reference: 'latest' })
  for (const [title, explode] of Object.entries(BOMBS)) {
    await t.test(title, async (t) => {
      await measured(t, { registry, path: `/v2/${other}/manifests/latest` }, async (begin) =>
        explode({ client, name: uniqueName('bombs'), begin }),
      )
    })
  }
  await registry.stop()
  await expectSound(t, registry.dataDirectory, { options: [] })
})

/** Runs work while somebody else pulls, and asserts what it may cost. */
async function measured(
  t: TestContext,
  { registry, path }: { registry: TestRegistry; path: string },
  work: (begin: () => void) => Promise<void>,
): Promise<void> {
  const before = residentMebibytesOf(registry.pid())
  let begun = performance.now()
  const other = new RegistryClient(registry.url)
  const over = new AbortController()
  let [peakMib, longestMs] = [0, 0]
  const watch = async () => {
    while (!over.signal.aborted) {
      const asked = performance.now()
      const answer = await other.get(path)
      assert.equal(answer.status, 200, describe(answer))
      longestMs = Math.max(longestMs, performance.now() - asked)
      peakMib = Math.max(peakMib, residentMebibytesOf(registry.pid()))
      await sleep(25)
    }
  }
  await Promise.all([watch(), work(() => (begun = performance.now())).finally(() => over.abort())])
  const [ms, grownMib] = [performance.now() - begun, peakMib - before]
  t.diagnostic(`${Math.round(ms)} ms, ${Math.round(grownMib)} MiB more, others waited ${Math.round(longestMs)} ms`)
  assert.ok(ms < MAX_MS, `it took ${ms} ms`)
  assert.ok(grownMib < MAX_GROWTH_MIB, `it took ${grownMib} MiB`)
  assert.ok(longestMs < MAX_WAIT_MS, `others waited for ${longestMs} ms`)
}

/** Does something so many times, some at a time, and gives the results in order. */
async function inLanes<Result>(count: number, work: (number: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  let next = 0
  const lane = async () => {
    while (next < count) {
      const number = next++
      results[number] = await work(number)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return results
}

async function listPages(client: RegistryClient, first: string, read: (answer: Answer) => string[]): Promise<string[]> {
  const found: string[] = []
  for (let page: string | undefined = first; page !== undefined;) {
    const answer: Answer = await client.get(page)
    assert.equal(answer.status, 200, describe(answer))
    found.push(...read(answer))
    page = client.next(answer)
  }
  return found
}
