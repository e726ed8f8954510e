import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertRefused,
  describe,
  record,
  strings,
} from '../registry-client.ts'
import { ARTIFACT_TYPES, BLOBS, MANIFESTS, TAGS, type SequenceBlob, type SequenceManifest } from './sequence-content.ts'
import type { ManagementAnswer } from '../operations/management-request.ts'
import type { Presence, RepositoryModel, Restoration } from './sequence-model.ts'
import type { SharedRegistry } from './shared-registry.ts'

export interface Real {
  readonly registry: SharedRegistry
  readonly restore: Restore
}

/** Restores a tag, which may get another name, or a manifest. */
type Restore = (repository: string, reference: string, as?: string) => Promise<ManagementAnswer>

/** Two repositories: blobs are mounted from one to the other. */
export interface Model {
  readonly repositories: readonly [RepositoryModel, RepositoryModel]
}

/** What an operation works on. */
interface Target {
  readonly client: RegistryClient
  readonly restore: Restore
  readonly repository: RepositoryModel
  readonly other: RepositoryModel
}

const WAYS = ['POST', 'POST and PUT', 'chunks', 'stream'] as const
type Way = (typeof WAYS)[number]

const MANIFEST_LIMIT = 3
const MOVES = [0, 1] as const

/** One step of a sequence, as fast-check shrinks and prints it. */
class Operation implements fc.AsyncCommand<Model, Real> {
  readonly #text: string
  readonly #number: 0 | 1
  readonly #perform: (target: Target) => Promise<void>

  constructor(text: string, number: 0 | 1, perform: (target: Target) => Promise<void>) {
    this.#text = `${text} in ${number}`
    this.#number = number
    this.#perform = perform
  }

  check(): boolean {
    return true
  }

  async run({ repositories }: Model, { registry, restore }: Real): Promise<void> {
    const [repository, other] = this.#number === 0 ? repositories : repositories.toReversed()
    assert.ok(repository !== undefined && other !== undefined)
    await registry.use(async (client) => this.#perform({ client, restore, repository, other }))
  }

  toString(): string {
    return this.#text
  }
}

/** Ends the server, and starts it again. */
class Restart implements fc.AsyncCommand<Model, Real> {
  readonly #ending: 'stop' | 'kill'

  constructor(ending: 'stop' | 'kill') {
    this.#ending = ending
  }

  check(): boolean {
    return true
  }

  async run(_model: Model, { registry }: Real): Promise<void> {
    await registry.restart(this.#ending)
  }

  toString(): string {
    return this.#ending
  }
}

const numbers = fc.constantFrom(...MOVES)
const blobs = fc.constantFrom(...BLOBS)
const manifests = fc.constantFrom(...MANIFESTS)
const tags = fc.constantFrom(...TAGS)

/** Every operation, as often as it helps to reach states worth looking at. */
export const operations: fc.Arbitrary<fc.AsyncCommand<Model, Real>> = fc.oneof(
  weighted(
    120,
    fc.tuple(blobs, fc.constantFrom(...WAYS)),
    ([blob, way]) => `push ${nameOf(blob)} by ${way}`,
    ([blob, way]) =>
      async (target) =>
        pushBlob(target, blob, way),
  ),
  weighted(
    40,
    blobs,
    (blob) => `mount ${nameOf(blob)}`,
    (blob) => async (target) => mountBlob(target, blob),
  ),
  weighted(
    200,
    fc.tuple(manifests, fc.subarray([...TAGS], { maxLength: 2 }), fc.boolean()),
    ([manifest, named, byTag]) => `push ${nameOf(manifest)} as ${named.join(' ')}${byTag ? ' by tag' : ''}`,
    ([manifest, named, byTag]) =>
      async (target) =>
        pushManifest(target, manifest, { tags: named, byTag }),
  ),
  weighted(
    150,
    fc.tuple(manifests, tags),
    ([manifest, tag]) => `push all of ${nameOf(manifest)} as ${tag}`,
    ([manifest, tag]) =>
      async (target) =>
        pushWhole(target, manifest, [tag]),
  ),
  weighted(
    60,
    tags,
    (tag) => `delete the tag ${tag}`,
    (tag) => async (target) => deleteTag(target, tag),
  ),
  weighted(
    40,
    manifests,
    (manifest) => `delete ${nameOf(manifest)}`,
    (manifest) => async (target) => deleteManifest(target, manifest),
  ),
  weighted(
    30,
    blobs,
    (blob) => `delete ${nameOf(blob)}`,
    (blob) => async (target) => deleteBlob(target, blob),
  ),
  // Of what is there and of what rests, for few sequences would name that by chance.
  weighted(
    40,
    fc.tuple(fc.nat(5), manifests),
    ([number, manifest]) => `delete the manifest number ${number}, or ${nameOf(manifest)}`,
    ([number, manifest]) =>
      async (target) =>
        deleteManifest(target, oneOf(target.repository.manifests, number) ?? manifest),
  ),
  weighted(
    60,
    fc.tuple(fc.nat(5), manifests),
    ([number, manifest]) => `restore the manifest number ${number}, or ${nameOf(manifest)}`,
    ([number, manifest]) =>
      async (target) =>
        restoreManifest(target, oneOf(target.repository.deletedManifests, number) ?? manifest),
  ),
  weighted(
    60,
    fc.tuple(fc.nat(5), tags, fc.option(tags, { nil: undefined, freq: 1 })),
    ([number, tag, as]) => `restore the tag number ${number}, or ${tag}, as ${as ?? 'it was'}`,
    ([number, tag, as]) =>
      async (target) =>
        restoreTag(target, oneOf(target.repository.deletedTags, number) ?? tag, as),
  ),
  weighted(
    40,
    fc.nat(3),
    (size) => `list tags by ${size}`,
    (size) => async (target) => listTags(target, size),
  ),
  weighted(
    20,
    numbers,
    () => 'list the catalogue',
    () => listCatalogue,
  ),
  weighted(
    40,
    fc.tuple(manifests, fc.option(fc.constantFrom(...ARTIFACT_TYPES), { nil: undefined })),
    ([manifest, type]) => `list referrers of ${nameOf(manifest)} of ${type ?? 'any type'}`,
    ([manifest, type]) =>
      async (target) =>
        listReferrers(target, manifest.digest, type),
  ),
  weighted(
    60,
    tags,
    (tag) => `pull ${tag}`,
    (tag) => async (target) => pullTag(target, tag),
  ),
  weighted(
    60,
    manifests,
    (manifest) => `pull ${nameOf(manifest)}`,
    (manifest) => async (target) => pullManifest(target, manifest),
  ),
  weighted(
    60,
    blobs,
    (blob) => `pull ${nameOf(blob)}`,
    (blob) => async (target) => pullBlob(target, blob),
  ),
  { weight: 1, arbitrary: fc.constantFrom<('stop' | 'kill')[]>('stop', 'kill').map((ending) => new Restart(ending)) },
)

/** Pulls and lists all that there may be, and compares. */
export async function verifyRepositories(
  { repositories: [first, second] }: Model,
  { registry, restore }: Real,
): Promise<void> {
  await registry.use(async (client) => {
    for (const target of [
      { client, restore, repository: first, other: second },
      { client, restore, repository: second, other: first },
    ]) {
      for (const tag of TAGS) await pullTag(target, tag)
      for (const manifest of MANIFESTS) await pullManifest(target, manifest)
      for (const blob of BLOBS) await pullBlob(target, blob)
      for (const manifest of MANIFESTS) await listReferrers(target, manifest.digest, undefined)
      await listTags(target, 0)
      await listCatalogue(target)
    }
  })
}

function weighted<Value>(
  weight: number,
  values: fc.Arbitrary<Value>,
  text: (value: Value) => string,
  perform: (value: Value) => (target: Target) => Promise<void>,
): { weight: number; arbitrary: fc.Arbitrary<Operation> } {
  const arbitrary = fc
    .tuple(values, numbers)
    .map(([value, number]) => new Operation(text(value), number, perform(value)))
  return { weight, arbitrary }
}

async function pushBlob({ client, repository }: Target, blob: SequenceBlob, way: Way): Promise<void> {
  const { bytes, digest } = blob
  const answer = await sendBlob(client, repository.name, blob, way)
  assert.equal(answer.status, 201, describe(answer))
  assert.equal(answer.header('docker-content-digest'), digest)
  assert.ok(bytes.length > 0)
  repository.addBlob(digest)
}

async function sendBlob(
  client: RegistryClient,
  name: string,
  { bytes, digest }: SequenceBlob,
  way: Way,
): Promise<Answer> {
  if (way === 'POST') return client.post(`/v2/${name}/blobs/uploads/?digest=${digest}`, { body: bytes })
  const url = await client.startUpload(name)
  if (way === 'POST and PUT') return client.putBlob(url, digest, bytes)
  if (way === 'stream') {
    const streamed = await client.request('PATCH', url, { body: bytes, streamed: true })
    assert.equal(streamed.status, 202, describe(streamed))
    return client.putBlob(client.location(streamed), digest)
  }
  const middle = Math.floor(bytes.length / 2)
  const half = await client.patchChunk(url, bytes.subarray(0, middle), `0-${middle - 1}`)
  assert.equal(half.status, 202, describe(half))
  assert.equal(half.header('range'), `0-${middle - 1}`)
  return client.putBlob(client.location(half), digest, bytes.subarray(middle))
}

async function mountBlob({ client, repository, other }: Target, { digest }: SequenceBlob): Promise<void> {
  const answer = await client.post(`/v2/${repository.name}/blobs/uploads/?mount=${digest}&from=${other.name}`)
  if (observed(answer, other.presenceOf(digest), { there: 201, absent: 202 })) {
    repository.addBlob(digest)
    return
  }
  other.removeBlob(digest)
  repository.begin()
  const cancelled = await client.delete(client.location(answer))
  assert.equal(cancelled.status, 204, describe(cancelled))
}

async function pushManifest(
  { client, repository }: Target,
  manifest: SequenceManifest,
  push: { tags: readonly string[]; byTag: boolean },
): Promise<void> {
  const { bytes, digest, mediaType } = manifest
  const [first] = push.tags
  const named = push.byTag && first !== undefined ? [first] : push.tags
  const query = named.map((tag) => `tag=${tag}`).join('&')
  const reference = push.byTag && first !== undefined ? first : `${digest}${query && '?'}${query}`
  const answer = await client.putManifest(repository.name, reference, bytes, mediaType)
  if (!observed(answer, repository.presenceOfChildren(manifest), { there: 201, absent: 400 })) {
    assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN')
    return
  }
  assert.equal(answer.header('docker-content-digest'), digest)
  assert.equal(answer.header('oci-subject'), manifest.subject)
  repository.addManifest(manifest, named)
}

const oneOf = <Item>(items: readonly Item[], number: number): Item | undefined => items[number % items.length]

/** Pushes what a manifest needs, then the manifest: by themselves few sequences come to that. */
async function pushWhole(target: Target, manifest: SequenceManifest, named: readonly string[]): Promise<void> {
  for (const child of MANIFESTS.filter(({ digest }) => manifest.manifests.includes(digest))) {
    await pushWhole(target, child, [])
  }
  for (const blob of BLOBS.filter(({ digest }) => manifest.blobs.includes(digest))) await pushBlob(target, blob, 'POST')
  await pushManifest(target, manifest, { tags: named, byTag: false })
}

async function deleteTag({ client, repository }: Target, tag: string): Promise<void> {
  const answer = await client.delete(`/v2/${repository.name}/manifests/${tag}`)
  assert.equal(answer.status, repository.removeTag(tag) ? 202 : 404, describe(answer))
}

async function deleteManifest({ client, repository }: Target, { digest }: SequenceManifest): Promise<void> {
  const answer = await client.delete(`/v2/${repository.name}/manifests/${digest}`)
  const expected = repository.isNeeded(digest) ? 405 : repository.hasManifest(digest) ? 202 : 404
  assert.equal(answer.status, expected, describe(answer))
  if (expected === 202) repository.removeManifest(digest)
}

async function deleteBlob({ client, repository }: Target, { digest }: SequenceBlob): Promise<void> {
  const answer = await client.delete(`/v2/${repository.name}/blobs/${digest}`)
  if (repository.isNeeded(digest)) {
    assertRefused(answer, 405, 'UNSUPPORTED')
    return
  }
  observed(answer, repository.presenceOf(digest), { there: 202, absent: 404 })
  repository.removeBlob(digest)
}

async function restoreManifest({ restore, repository }: Target, { digest }: SequenceManifest): Promise<void> {
  assertRestored(await restore(repository.name, digest), repository.restoreManifest(digest))
}

async function restoreTag({ restore, repository }: Target, tag: string, as: string | undefined): Promise<void> {
  assertRestored(await restore(repository.name, tag, as), repository.restoreTag(tag, as ?? tag))
}

function assertRestored({ status, body }: ManagementAnswer, expected: Restoration): void {
  assert.equal(status, expected.status, JSON.stringify(body))
  if (status !== 200) return
  assert.deepEqual(strings(body['manifests']).toSorted(), expected.manifests.toSorted())
  assert.deepEqual([body['tags'], body['takenTags']], [expected.tags, expected.takenTags])
}

async function listTags({ client, repository }: Target, size: number): Promise<void> {
  const found: string[] = []
  const first = `/v2/${repository.name}/tags/list${size === 0 ? '' : `?n=${size}`}`
  for (let page: string | undefined = first; page !== undefined;) {
    const answer: Answer = await client.get(page)
    if (!repository.isKnown) {
      assertRefused(answer, 404, 'NAME_UNKNOWN')
      return
    }
    const tags = strings(record(answer.json())['tags'])
    assert.ok(size === 0 || tags.length <= size, describe(answer))
    found.push(...tags)
    assert.ok(found.length <= TAGS.length, 'the pages do not end')
    page = client.next(answer)
  }
  assert.deepEqual(found, repository.tags)
}

async function listCatalogue({ client, repository, other }: Target): Promise<void> {
  const both = [repository, other].toSorted((one, another) => (one.name < another.name ? -1 : 1))
  const parent = repository.name.slice(0, repository.name.lastIndexOf('/'))
  const found: string[] = []
  for (let page: string | undefined = `/v2/_catalog?n=1&last=${parent}`; page !== undefined;) {
    const answer: Answer = await client.get(page)
    const names = strings(record(answer.json())['repositories']).filter((name) => name.startsWith(`${parent}/`))
    found.push(...names)
    // The repositories of other sequences come after these.
    page = names.length === 0 ? undefined : client.next(answer)
  }
  assert.deepEqual(
    found,
    both.filter((one) => one.isPublished).map((one) => one.name),
  )
}

async function listReferrers({ client, repository }: Target, subject: string, type: string | undefined): Promise<void> {
  const found: unknown[] = []
  const query = type === undefined ? '' : `?artifactType=${encodeURIComponent(type)}`
  for (let page: string | undefined = `/v2/${repository.name}/referrers/${subject}${query}`; page !== undefined;) {
    const answer: Answer = await client.get(page)
    assert.equal(answer.status, 200, describe(answer))
    const listed = record(answer.json())['manifests']
    assert.ok(Array.isArray(listed) && listed.length <= MANIFEST_LIMIT, describe(answer))
    found.push(...listed)
    page = client.next(answer)
  }
  const expected = repository
    .referrersOf(subject, type)
    .map(({ mediaType, digest, bytes, artifactType }) => ({ mediaType, digest, size: bytes.length, artifactType }))
  assert.deepEqual(found, expected)
}

async function pullTag({ client, repository }: Target, tag: string): Promise<void> {
  await assertPulled(client, `/v2/${repository.name}/manifests/${tag}`, repository.taggedWith(tag))
}

async function pullManifest({ client, repository }: Target, manifest: SequenceManifest): Promise<void> {
  const expected = repository.hasManifest(manifest.digest) ? manifest : undefined
  await assertPulled(client, `/v2/${repository.name}/manifests/${manifest.digest}`, expected)
}

async function assertPulled(client: RegistryClient, path: string, expected: SequenceManifest | undefined) {
  const [answer, head] = [await client.get(path, { Accept: '*/*' }), await client.head(path, { Accept: '*/*' })]
  if (expected === undefined) {
    assertRefused(answer, 404)
    assert.equal(head.status, 404, describe(head))
    return
  }
  assertContent(answer, expected)
  assert.equal(head.header('docker-content-digest'), expected.digest, describe(head))
}

async function pullBlob({ client, repository }: Target, { bytes, digest }: SequenceBlob): Promise<void> {
  const path = `/v2/${repository.name}/blobs/${digest}`
  const head = await client.head(path)
  if (!observed(head, repository.presenceOf(digest), { there: 200, absent: 404 })) repository.removeBlob(digest)
  const answer = await client.get(path)
  if (observed(answer, repository.presenceOf(digest), { there: 200, absent: 404 })) {
    assertContent(answer, { bytes, digest })
  } else repository.removeBlob(digest)
}

/** Asserts that a status tells what the model knows. @returns whether it says that the thing is there. */
function observed(answer: Answer, presence: Presence, statuses: { there: number; absent: number }): boolean {
  const expected =
    presence === 'either'
      ? [statuses.there, statuses.absent]
      : [presence === 'there' ? statuses.there : statuses.absent]
  assert.ok(expected.includes(answer.status), `expected ${expected.join(' or ')}: ${describe(answer)}`)
  return answer.status === statuses.there
}

function nameOf(content: SequenceBlob | SequenceManifest): string {
  return 'mediaType' in content ? `manifest ${MANIFESTS.indexOf(content)}` : `blob ${BLOBS.indexOf(content)}`
}
