import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { type Descriptor, imageDocument, indexDocument, mediaTypes, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { assertContent, record, RegistryClient } from '../registry-client.ts'
import { collectGarbage, listTrash, manage, restore } from './management-request.ts'

const AGE_MS = 1_500
const REPOSITORIES = 40
const MOST_MANIFESTS = 8

async function start(t: TestContext, untagged: Record<string, unknown>) {
  const maintenance = { garbagecollection: { interval: '1h' }, untagged: { enabled: true, ...untagged } }
  const registry = await startRegistry(t, { config: { storage: { maintenance } } })
  return { registry, client: new RegistryClient(registry.url) }
}

const statusOf = async (client: RegistryClient, name: string, digest: string) =>
  (await client.head(`/v2/${name}/manifests/${digest}`)).status

test('a manifest that has had no tag for long goes into the trash, a tagged one stays', async (t) => {
  const { registry, client } = await start(t, { age: '0s' })
  const name = uniqueName('untagged')
  const tagged = await client.pushImage(name, { reference: 'v1' })
  const untagged = await client.pushImage(name)
  const overwritten = await client.pushImage(name, { reference: 'v2' })
  await client.pushManifest(name, tagged.bytes, mediaTypes.image, { reference: 'v2' })
  await collectGarbage(registry)
  await collectGarbage(registry)
  assert.equal(await statusOf(client, name, tagged.descriptor.digest), 200)
  for (const { bytes, descriptor } of [untagged, overwritten]) {
    assert.equal(await statusOf(client, name, descriptor.digest), 404)
    const { body } = await manage(registry, 'GET', 'trash')
    assert.ok(Array.isArray(body['entries']))
    const entry = body['entries']
      .map((each: unknown) => record(each))
      .find(({ digest }) => digest === descriptor.digest)
    assert.equal(entry?.['reason'], 'policy')
    assert.equal((await restore(registry, name, descriptor.digest)).status, 200)
    assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, digest: descriptor.digest })
  }
  assert.match(registry.output(), /a manifest without a tag was deleted/)
})

test('without the rule, and in a dry run, nothing goes; the dry run tells what would', async (t) => {
  for (const [options, isTold] of [
    [{ enabled: false, age: '0s' }, false],
    [{ dryrun: true, age: '0s' }, true],
  ] as const) {
    const { registry, client } = await start(t, options)
    const name = uniqueName('untagged')
    const { descriptor } = await client.pushImage(name)
    await collectGarbage(registry)
    await collectGarbage(registry)
    assert.equal(await statusOf(client, name, descriptor.digest), 200)
    assert.deepEqual(await listTrash(registry, name), [])
    const line = registry
      .output()
      .split('\n')
      .find((text) => text.includes('a manifest without a tag would be deleted'))
    assert.equal(line?.includes(name) && line.includes(descriptor.digest), isTold ? true : undefined)
  }
})

test('a manifest stays while it has been untagged for less than the age', async (t) => {
  const { registry, client } = await start(t, { age: '1h' })
  const name = uniqueName('untagged')
  const { descriptor } = await client.pushImage(name)
  for (let run = 0; run < 3; run++) await collectGarbage(registry)
  assert.equal(await statusOf(client, name, descriptor.digest), 200)
})

test('a tag, an index or a push of its own lets the time begin anew', async (t) => {
  const { registry, client } = await start(t, { age: `${AGE_MS}ms` })
  const name = uniqueName('untagged')
  const images = [await client.pushImage(name), await client.pushImage(name), await client.pushImage(name)]
  const [tagged, listed, pushed] = images
  assert.ok(tagged !== undefined && listed !== undefined && pushed !== undefined)
  await collectGarbage(registry)
  await sleep(AGE_MS + 100)
  await client.pushManifest(name, tagged.bytes, mediaTypes.image, { reference: 'v1' })
  await client.delete(`/v2/${name}/manifests/v1`)
  const index = await client.pushManifest(name, indexDocument([listed.descriptor]), mediaTypes.index)
  await client.delete(`/v2/${name}/manifests/${index.digest}`)
  await client.pushManifest(name, pushed.bytes, mediaTypes.image)
  await collectGarbage(registry)
  for (const { descriptor } of images) assert.equal(await statusOf(client, name, descriptor.digest), 200)
  await sleep(AGE_MS + 100)
  await collectGarbage(registry)
  for (const { descriptor } of images) assert.equal(await statusOf(client, name, descriptor.digest), 404)
})

/** A manifest of a generated repository; numbers stand for those before it. */
interface Plan {
  readonly isTagged: boolean
  readonly children: readonly number[]
  readonly subject: number | undefined
}

const plans = fc.array(
  fc.record({
    isTagged: fc.boolean(),
    children: fc.uniqueArray(fc.nat(MOST_MANIFESTS), { maxLength: 3 }),
    subject: fc.option(fc.nat(MOST_MANIFESTS), { nil: undefined, freq: 1 }),
  }),
  { minLength: 3, maxLength: MOST_MANIFESTS, size: 'max' },
)

/** Leaves only numbers of manifests that come before. */
function prepare(generated: readonly Plan[]): Plan[] {
  return generated.map((plan, number) => ({
    isTagged: plan.isTagged,
    children: plan.children.filter((child) => child < number),
    subject: plan.subject !== undefined && plan.subject < number ? plan.subject : undefined,
  }))
}

/** Which manifests stay, whatever the age: tagged ones, those with a subject, and all that these list. */
function staying(manifests: readonly Plan[]): boolean[] {
  const stays = manifests.map(({ isTagged, subject }) => isTagged || subject !== undefined)
  // What an index lists comes before it.
  for (const [number, { children }] of [...manifests.entries()].toReversed()) {
    if (stays[number] === true) for (const child of children) stays[child] = true
  }
  return stays
}

async function push(client: RegistryClient, name: string, manifests: readonly Plan[]): Promise<Descriptor[]> {
  const config = await client.pushBlob(name)
  const descriptors: Descriptor[] = []
  for (const [number, { isTagged, children, subject }] of manifests.entries()) {
    const fields = {
      annotations: { number: String(number) },
      subject: subject === undefined ? undefined : descriptors[subject],
    }
    const listed = children.flatMap((child) => descriptors[child] ?? [])
    const bytes = listed.length > 0 ? indexDocument(listed, fields) : imageDocument(config, [], fields)
    const mediaType = listed.length > 0 ? mediaTypes.index : mediaTypes.image
    const target = isTagged ? { reference: `v${number}` } : {}
    descriptors.push(await client.pushManifest(name, bytes, mediaType, target))
  }
  return descriptors
}

test('of any images, indexes and referrers exactly those go that no tag reaches, and all of them can come back', async (t) => {
  const { registry, client } = await start(t, { age: '0s' })
  const seed = Date.now() % 2 ** 31
  t.diagnostic(`seed ${seed}`)
  const generated = fc.sample(plans, { seed, numRuns: REPOSITORIES }).map(prepare)
  const repositories = await Promise.all(
    generated.map(async (manifests) => {
      const name = uniqueName('untagged')
      return { name, manifests, descriptors: await push(client, name, manifests) }
    }),
  )
  // One level of indexes goes in each two runs.
  for (let run = 0; run < 2 * MOST_MANIFESTS + 1; run++) await collectGarbage(registry)
  let gone = 0
  for (const { name, manifests, descriptors } of repositories) {
    const stays = staying(manifests)
    for (const [number, { digest }] of descriptors.entries()) {
      const expected = stays[number] === true ? 200 : 404
      assert.equal(await statusOf(client, name, digest), expected, `manifest ${number} of ${JSON.stringify(manifests)}`)
      if (expected === 404) gone++
    }
    // From the top down, so that indexes bring back what they list.
    for (const { digest } of descriptors.toReversed()) {
      const { status } = await restore(registry, name, digest)
      assert.ok(status === 200 || status === 404)
      assert.equal(await statusOf(client, name, digest), 200)
    }
    assert.deepEqual(await listTrash(registry, name), [])
  }
  t.diagnostic(`${gone} manifests went`)
  assert.ok(gone > REPOSITORIES / 2)
})
