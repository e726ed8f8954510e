import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Descriptor, digestOf, imageDocument, indexDocument, mediaTypes, uniqueName } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { Random } from '../random.ts'
import { RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { byTier } from './tier.ts'

const RACES = byTier({ quick: 40, ci: 300, release: 5_000 })
const LANES = 8
const MOST_TRIES = 6
/** From a collector that comes before nearly every push is done to one that rarely does, on slow machines as well. */
const INTERVALS = ['1ms', '20ms', '100ms', '500ms']
const SETTLE_MS = 30_000

interface Content {
  readonly bytes: Buffer
  readonly digest: string
  readonly mediaType: string
}

/** The same in all races: what one lets go is what another pushes. */
const [config, layer, otherLayer] = [2_000, 60_000, 3_000].map((size) => {
  const bytes = new Random(`collected ${size}`).bytes(size)
  return contentOf(bytes, mediaTypes.octetStream)
})
assert.ok(config !== undefined && layer !== undefined && otherLayer !== undefined)
const BLOBS = [config, layer, otherLayer]
const image = contentOf(imageDocument(describeContent(config), [describeContent(layer)]), mediaTypes.image)
const otherImage = contentOf(imageDocument(describeContent(config), [describeContent(otherLayer)]), mediaTypes.image)
const IMAGES = [image, otherImage]
const index = contentOf(indexDocument(IMAGES.map(describeContent)), mediaTypes.index)

/** One repository while others delete and collect the same content: it remembers what it was promised. */
class Race {
  readonly #client: RegistryClient
  readonly #name: string
  readonly #from: string
  readonly #random: Random
  /** What was acknowledged and not deleted since: by path. */
  readonly #promised = new Map<string, Content>()
  acknowledged = 0
  refused = 0

  constructor(client: RegistryClient, random: Random) {
    this.#client = client
    this.#random = random
    this.#name = uniqueName('races')
    this.#from = uniqueName('races')
  }

  async run(): Promise<void> {
    // Something for the collector: images in both repositories, of which some go again.
    for (const name of [this.#name, this.#from]) {
      await Promise.all(BLOBS.map(async (blob) => this.#pushBlob(name, blob)))
      await Promise.all(IMAGES.map(async (pushed) => this.#put(name, [this.#random.pick(['old', 'new'])], pushed)))
    }
    await Promise.all(IMAGES.map(async ({ digest }) => this.#delete(this.#name, digest)))
    await this.#pause()
    // While their content is being removed, it comes back by every way.
    await Promise.all([
      this.#comeBack(image),
      this.#random.pick([async () => this.#mountAll(), async () => this.#comeBack(otherImage)])(),
      this.#random.pick([async () => this.#delete(this.#from, otherImage.digest), async () => this.#retag()])(),
    ])
    if ((await this.#put(this.#name, ['index'], index)) === 201) await this.#pause()
    await this.verify()
  }

  /** What was promised is there, and so is all that it needs. */
  async verify(): Promise<void> {
    for (const [path, content] of this.#promised) assertContent(await this.#client.get(path), content)
    for (const name of [this.#name, this.#from]) {
      for (const needing of [...IMAGES, index]) {
        const found = await this.#client.get(`/v2/${name}/manifests/${needing.digest}`)
        if (found.status === 404) continue
        assertContent(found, needing)
        const [kind, needed] = needing === index ? ['manifests', IMAGES] : ['blobs', blobsOf(needing)]
        for (const child of needed) {
          assertContent(await this.#client.get(`/v2/${name}/${kind}/${child.digest}`), {
            bytes: child.bytes,
            digest: child.digest,
          })
        }
      }
    }
  }

  /** Pushes what an image needs, unless it is said to be there, and the image; again when the collector came first. */
  async #comeBack(pushed: Content): Promise<void> {
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      await Promise.all(
        blobsOf(pushed).map(async (blob) => {
          const head = await this.#client.head(`/v2/${this.#name}/blobs/${blob.digest}`)
          if (head.status === 404) await this.#pushBlob(this.#name, blob)
        }),
      )
      if (this.#random.chance(20)) await this.#pause()
      if ((await this.#put(this.#name, ['new'], pushed)) === 201) return
    }
  }

  async #mountAll(): Promise<void> {
    for (const { digest } of blobsOf(otherImage)) {
      const query = `?mount=${digest}&from=${this.#from}`
      const answer = await this.#client.post(`/v2/${this.#name}/blobs/uploads/${query}`)
      assert.ok([201, 202].includes(answer.status), describe(answer))
      if (answer.status === 202) await this.#client.delete(this.#client.location(answer))
    }
    await this.#put(this.#name, ['mounted'], otherImage)
  }

  async #retag(): Promise<void> {
    for (const tag of ['old', 'new', 'newer']) await this.#put(this.#from, [tag], this.#random.pick(IMAGES))
  }

  async #put(name: string, tags: readonly string[], content: Content): Promise<number> {
    const { digest, bytes, mediaType } = content
    const query = tags.map((tag) => `tag=${tag}`).join('&')
    const answer = await this.#client.putManifest(name, `${digest}?${query}`, bytes, mediaType)
    if (answer.status === 201) {
      this.acknowledged += 1
      this.#promised.set(`/v2/${name}/manifests/${digest}`, content)
    } else {
      this.refused += 1
      assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN')
    }
    return answer.status
  }

  async #delete(name: string, digest: string): Promise<void> {
    // Before the request: what is acknowledged meanwhile may come before it or after it.
    this.#promised.delete(`/v2/${name}/manifests/${digest}`)
    const answer = await this.#client.delete(`/v2/${name}/manifests/${digest}`)
    assert.ok([202, 404].includes(answer.status), describe(answer))
    this.#promised.delete(`/v2/${name}/manifests/${digest}`)
  }

  async #pushBlob(name: string, { bytes, digest }: Content): Promise<void> {
    const answer = await this.#client.post(`/v2/${name}/blobs/uploads/?digest=${digest}`, { body: bytes })
    assert.equal(answer.status, 201, describe(answer))
  }

  async #pause(): Promise<void> {
    await sleep(this.#random.below(12))
  }
}

test('what is acknowledged while the collector removes the same content stays: pushes, mounts, tags and indexes', async (t) => {
  const seed = faultSeed(t)
  let [acknowledged, refused] = [0, 0]
  for (const interval of INTERVALS) {
    const registry = await startRegistry(t, { config: configOf('0s', interval) })
    const client = new RegistryClient(registry.url)
    const races = Array.from(
      { length: RACES / INTERVALS.length },
      (_, number) => new Race(client, new Random(`${seed}/${interval}/${number}`)),
    )
    await eachInLanes(races, async (race) => race.run())
    await untilCollected(client)
    await eachInLanes(races, async (race) => race.verify())
    for (const race of races) {
      acknowledged += race.acknowledged
      refused += race.refused
    }
    t.diagnostic(`every ${interval}: ${acknowledged} manifests were acknowledged up to here, ${refused} refused`)
    await registry.stop()
    await expectSound(t, registry.dataDirectory)
  }
  assert.ok(acknowledged >= RACES / 4 && refused > 0, `${acknowledged} acknowledged, ${refused} refused`)
})

test('a blob that HEAD or a mount tells of is there for a manifest for as long as garbage stays', async (t) => {
  const random = new Random(String(faultSeed(t)))
  const ageMs = 500
  const registry = await startRegistry(t, { config: configOf(`${ageMs}ms`) })
  const client = new RegistryClient(registry.url)
  const blobs = Array.from({ length: 100 }, (_, number) =>
    contentOf(Buffer.from(`small ${number}`), mediaTypes.octetStream),
  )
  const source = uniqueName('races')
  // Few at a time: on a busy machine the first of many would be garbage before the last is there.
  for (let first = 0; first < blobs.length; first += 10) {
    const some = blobs.slice(first, first + 10)
    await pushAll(client, source, [config, ...some])
    const needing = imageDocument(describeContent(config), some.map(describeContent))
    await client.pushManifest(source, needing, mediaTypes.image)
  }
  let [relied, kept, gone] = [0, 0, 0]
  // When the collector takes them depends on the machine and the database: some are to go while they are asked for.
  let waitMs = ageMs - 150
  // On a busy machine a round may take longer than garbage stays, and proves nothing.
  const isProven = () => relied > 0 && gone > 0
  for (let round = 0; round < RACES / 10 || (!isProven() && round < RACES); round += 1) {
    const name = uniqueName('races')
    await pushAll(client, name, blobs)
    // Asked for about when the collector takes them, which it does in the order in which they were pushed.
    await sleep(waitMs)
    const begun = performance.now()
    const told = await Promise.all(
      blobs.map(async ({ digest }, number) => {
        await sleep(random.below(200))
        const isMounted = number % 4 === 0
        const answer = isMounted
          ? await client.post(`/v2/${name}/blobs/uploads/?mount=${digest}&from=${source}`)
          : await client.head(`/v2/${name}/blobs/${digest}`)
        assert.ok(isMounted ? answer.status === 201 : [200, 404].includes(answer.status), describe(answer))
        return answer.status !== 404
      }),
    )
    const there = blobs.filter((_, number) => told[number])
    gone += blobs.length - there.length
    kept += there.length
    if (there.length === blobs.length) waitMs += 50
    const [first, ...others] = there.map(describeContent)
    assert.ok(first !== undefined)
    const pushed = await client.putManifest(name, 'v1', imageDocument(first, others), mediaTypes.image)
    if (performance.now() - begun > ageMs) continue
    relied += 1
    assert.equal(pushed.status, 201, describe(pushed))
  }
  t.diagnostic(`${relied} pushes relied on what they were told of ${kept} blobs, ${gone} were gone`)
  assert.ok(isProven(), `${relied} pushes relied on what they were told, ${gone} blobs were gone`)
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

async function pushAll(client: RegistryClient, name: string, blobs: readonly Content[]): Promise<void> {
  await Promise.all(
    blobs.map(async ({ bytes, digest }) => {
      const answer = await client.post(`/v2/${name}/blobs/uploads/?digest=${digest}`, { body: bytes })
      assert.equal(answer.status, 201, describe(answer))
    }),
  )
}

async function eachInLanes<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const left = items.values()
  const lane = async () => {
    for (const item of left) await work(item)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

/** Waits until the collector has looked at all that is there now: one run may have begun before, the next did not. */
async function untilCollected(client: RegistryClient): Promise<void> {
  const ends = new Set<string | undefined>()
  await until(
    async () => {
      const metrics = (await client.get('/metrics')).body.toString()
      ends.add(/^entrepot_garbage_last_run_timestamp_seconds (.+)$/m.exec(metrics)?.[1])
      return ends.size > 2
    },
    SETTLE_MS,
    () => `the collector ran ${ends.size - 1} times`,
  )
}

/** Without a trash, for what rests in it is no garbage. */
function configOf(age: string, interval = '1ms') {
  const maintenance = { garbagecollection: { age, interval }, trash: { age: '0s' } }
  return { log: { level: 'warn' }, storage: { maintenance } }
}

function contentOf(bytes: Buffer, mediaType: string): Content {
  return { bytes, digest: digestOf(bytes), mediaType }
}

function describeContent({ bytes, digest, mediaType }: Content): Descriptor {
  return { mediaType, digest, size: bytes.length }
}

function blobsOf(needing: Content): readonly Content[] {
  return BLOBS.filter(({ digest }) => needing.bytes.includes(digest))
}
