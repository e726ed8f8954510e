import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, indexDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { listTrash, manage, type ManagementAnswer, restore } from '../operations/management-request.ts'
import { assertContent, describe, RegistryClient } from '../registry-client.ts'
import { Random } from '../random.ts'
import { faultSeed } from './fault-seed.ts'
import { byTier } from './tier.ts'

const ROUNDS = byTier({ quick: 5, ci: 40, release: 2_000 })
const KILLS = byTier({ quick: 3, ci: 10, release: 500 })
const TIMEOUT_MS = byTier({ quick: 60_000, ci: 300_000, release: 4 * 3_600_000 })
/** Long enough for a push to come through between two looks, mostly. */
const GARBAGE = { age: '300ms', interval: '20ms' }
const REPOSITORIES = 6
const TRASH_AGE_MS = 200

/** An index of two images that share a layer. */
class Release {
  readonly blobs = [randomBlob(500), randomBlob(500), randomBlob(50_000)]
  readonly images: readonly Buffer[]
  readonly index: Buffer

  constructor() {
    const [first, second, layer] = this.blobs.map((bytes) => descriptorOf(bytes, mediaTypes.octetStream))
    assert.ok(first !== undefined && second !== undefined && layer !== undefined)
    this.images = [imageDocument(first, [layer]), imageDocument(second, [layer])]
    this.index = indexDocument(this.images.map((image) => descriptorOf(image, mediaTypes.image)))
  }

  /** Pushes all of it; what the collector takes between a blob and its manifest is pushed again. */
  async push(client: RegistryClient, name: string, tag: string): Promise<void> {
    for (let attempt = 0; attempt < 100; attempt++) {
      for (const bytes of this.blobs) await client.pushBlob(name, bytes)
      const answers = []
      for (const image of this.images) {
        answers.push(await client.putManifest(name, digestOf(image), image, mediaTypes.image))
      }
      answers.push(await client.putManifest(name, tag, this.index, mediaTypes.index))
      if (answers.every(({ status }) => status === 201)) return
      for (const answer of answers) assert.ok([201, 400].includes(answer.status), describe(answer))
    }
    assert.fail('a push was refused a hundred times')
  }

  async delete(client: RegistryClient, name: string): Promise<void> {
    for (const bytes of [this.index, ...this.images]) {
      assert.equal((await client.delete(`/v2/${name}/manifests/${digestOf(bytes)}`)).status, 202)
    }
  }

  /** Asserts that each byte of it can be pulled. */
  async verify(client: RegistryClient, name: string, tag: string): Promise<void> {
    assertContent(await client.get(`/v2/${name}/manifests/${tag}`), { bytes: this.index, digest: digestOf(this.index) })
    for (const bytes of this.images) {
      const answer = await client.get(`/v2/${name}/manifests/${digestOf(bytes)}`)
      assertContent(answer, { bytes, digest: digestOf(bytes) })
    }
    for (const bytes of this.blobs) {
      assertContent(await client.get(`/v2/${name}/blobs/${digestOf(bytes)}`), { bytes, digest: digestOf(bytes) })
    }
  }
}

const descriptorOf = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.length })

test(
  'what is restored while it runs out and garbage is collected is whole, or was refused',
  { timeout: TIMEOUT_MS },
  async (t) => {
    const random = new Random(String(faultSeed(t)))
    const maintenance = { garbagecollection: GARBAGE, trash: { age: `${TRASH_AGE_MS}ms` } }
    const registry = await startRegistry(t, { config: { log: { level: 'warn' }, storage: { maintenance } } })
    const client = new RegistryClient(registry.url)
    // The same content in all repositories, so that what one gives up is what another one restores.
    const release = new Release()
    const outcomes = new Map<number, number>()
    const work = async (name: string) => {
      for (let round = 0; round < ROUNDS; round++) {
        await release.push(client, name, 'v1')
        await release.delete(client, name)
        await sleep(random.below(2 * TRASH_AGE_MS))
        // The digest, or the tag, of an index whose images were deleted, too.
        const { status, body } = await restore(registry, name, round % 2 === 0 ? digestOf(release.index) : 'v1')
        outcomes.set(status, (outcomes.get(status) ?? 0) + 1)
        if (status === 200) {
          await sleep(20)
          await release.verify(client, name, 'v1')
          await release.delete(client, name)
        } else {
          assertRefused({ status, body })
        }
      }
    }
    await Promise.all(Array.from({ length: REPOSITORIES }, async () => work(uniqueName('trash'))))
    t.diagnostic(`outcomes by status: ${JSON.stringify(Object.fromEntries(outcomes))}`)
    assert.ok((outcomes.get(200) ?? 0) > 0 && (outcomes.get(404) ?? 0) > 0)
  },
)

/** It has run out, or it ran out while it was read; an image of the index may have run out alone. */
function assertRefused({ status, body }: ManagementAnswer): void {
  const text = JSON.stringify(body)
  assert.ok(status === 404 || status === 409 || (status === 400 && text.includes('MANIFEST_BLOB_UNKNOWN')), text)
}

test(
  'after a kill in the middle of deletes and restores each image is there or rests, as was acknowledged',
  { timeout: TIMEOUT_MS },
  async (t) => {
    const random = new Random(String(faultSeed(t)))
    const maintenance = { garbagecollection: GARBAGE }
    const registry = await startRegistry(t, { config: { log: { level: 'warn' }, storage: { maintenance } } })
    const name = uniqueName('trash')
    const release = new Release()
    await release.push(new RegistryClient(registry.url), name, 'v1')
    const digest = digestOf(release.index)
    let changes = 0
    for (let kill = 0; kill < KILLS; kill++) {
      const client = new RegistryClient(registry.url)
      const killing = new AbortController()
      let acknowledged = 'v1'
      let wanted = 'v1'
      const change = async () => {
        while (!killing.signal.aborted) {
          wanted = acknowledged === 'v1' ? '' : 'v1'
          if (wanted === '') await client.delete(`/v2/${name}/manifests/${digest}`)
          else
            assert.equal(
              (await manage(registry, 'POST', 'trash/restorations', { repository: name, reference: digest })).status,
              200,
            )
          acknowledged = wanted
          changes++
        }
      }
      const changing = change().catch((error: unknown) => {
        // The request that the kill cuts off fails; nothing else may.
        if (!killing.signal.aborted) throw error
      })
      await sleep(random.between(50, 350))
      killing.abort()
      await registry.kill()
      await changing
      await registry.start()
      const after = new RegistryClient(registry.url)
      const isThere = (await after.get(`/v2/${name}/manifests/v1`)).status === 200
      const state = isThere ? 'v1' : ''
      assert.ok(state === acknowledged || state === wanted, `"${state}", acknowledged was "${acknowledged}"`)
      assert.deepEqual(await listTrash(registry, name), isThere ? [] : [`@${digest}`, `v1@${digest}`])
      if (!isThere) assert.equal((await restore(registry, name, digest)).status, 200)
      await release.verify(after, name, 'v1')
    }
    t.diagnostic(`${changes} deletes and restores around ${KILLS} kills`)
  },
)
