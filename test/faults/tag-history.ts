import assert from 'node:assert/strict'
import { type Descriptor, digestOf, imageDocument, mediaTypes } from '../content.ts'
import type { Random } from '../random.ts'
import { type RegistryClient, assertContent, assertRefused, describe } from '../registry-client.ts'
import { type Observation, isLinearizable } from './linearizability.ts'

const CLIENTS = 4
const OPERATIONS = 25
const TAGS = ['one', 'two', 'three'] as const
const IMAGES = 5
/** What a tag stands for when there is none. */
const NONE = ''

type Tag = (typeof TAGS)[number]

interface Image {
  readonly bytes: Buffer
  readonly digest: string
}

/** Clients that move, delete and read a few tags of one repository at the same time, and remember what they were told. */
export class TagHistory {
  readonly #name: string
  readonly #random: Random
  readonly #client: RegistryClient
  readonly #config: Buffer
  readonly #images: readonly Image[]
  readonly #observations = new Map<Tag, Observation<string>[][]>()
  #clock = 0

  constructor(name: string, random: Random, client: RegistryClient) {
    this.#name = name
    this.#random = random
    this.#client = client
    this.#config = random.bytes(200)
    const config: Descriptor = { mediaType: mediaTypes.config, digest: digestOf(this.#config), size: 200 }
    this.#images = Array.from({ length: IMAGES }, (_, number) => {
      const bytes = imageDocument(config, [], { annotations: { number: String(number) } })
      return { bytes, digest: digestOf(bytes) }
    })
    for (const tag of TAGS)
      this.#observations.set(
        tag,
        Array.from({ length: CLIENTS }, () => []),
      )
  }

  /** Lets all clients do what they do. */
  async run(): Promise<void> {
    await this.#client.pushBlob(this.#name, this.#config)
    await Promise.all(
      Array.from({ length: CLIENTS }, async (_, client) => {
        for (let done = 0; done < OPERATIONS; done += 1) await this.#step(client)
      }),
    )
  }

  /** Asserts that each tag was, at any moment, one register; and that what it stands for in the end is whole. */
  async verify(): Promise<void> {
    for (const [tag, clients] of this.#observations) {
      const lines = clients.flat().toSorted((one, other) => one.begin - other.begin)
      assert.ok(
        isLinearizable(clients, NONE),
        `no order explains the tag ${tag}:\n${lines.map(({ begin, end, text }) => `${begin}-${end} ${text}`).join('\n')}`,
      )
    }
    for (const tag of TAGS) {
      const found = await this.#client.get(`/v2/${this.#name}/manifests/${tag}`)
      if (found.status === 404) continue
      const image = this.#images.find(({ digest }) => digest === found.header('docker-content-digest'))
      assert.ok(image !== undefined, describe(found))
      assertContent(await this.#client.get(`/v2/${this.#name}/manifests/${image.digest}`), image)
      const config = { bytes: this.#config, digest: digestOf(this.#config) }
      assertContent(await this.#client.get(`/v2/${this.#name}/blobs/${config.digest}`), config)
    }
  }

  async #step(client: number): Promise<void> {
    const tag = this.#random.pick(TAGS)
    const image = this.#random.pick(this.#images)
    await this.#random.weighted([
      [6, async () => this.#put(client, [tag], image)],
      [2, async () => this.#put(client, [tag, this.#random.pick(TAGS)], image)],
      [2, async () => this.#create(client, tag, image)],
      [8, async () => this.#read(client, tag)],
      [3, async () => this.#deleteTag(client, tag)],
      [3, async () => this.#deleteImage(client, image)],
    ])()
  }

  async #put(client: number, tags: readonly Tag[], { bytes, digest }: Image): Promise<void> {
    const begin = this.#clock++
    const reference = `${digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`
    const answer = await this.#client.putManifest(this.#name, reference, bytes, mediaTypes.image)
    if (answer.status !== 201) return this.#pushConfig(answer)
    for (const tag of new Set(tags)) this.#note(client, tag, begin, { text: `put ${digest}`, apply: () => digest })
  }

  /** Pushes only if there is no such tag. */
  async #create(client: number, tag: Tag, { bytes, digest }: Image): Promise<void> {
    const begin = this.#clock++
    const answer = await this.#client.request('PUT', `/v2/${this.#name}/manifests/${tag}`, {
      headers: { 'Content-Type': mediaTypes.image, 'If-None-Match': '*' },
      body: bytes,
    })
    if (answer.status === 400) return this.#pushConfig(answer)
    const text = `put ${digest} if there is none: ${answer.status}`
    if (answer.status === 201) {
      this.#note(client, tag, begin, { text, apply: (state) => (state === NONE ? digest : undefined) })
    } else {
      assert.equal(answer.status, 412, describe(answer))
      this.#note(client, tag, begin, { text, apply: (state) => (state === NONE ? undefined : state) })
    }
  }

  async #read(client: number, tag: Tag): Promise<void> {
    const begin = this.#clock++
    const answer = await this.#client.get(`/v2/${this.#name}/manifests/${tag}`)
    const read = answer.status === 404 ? NONE : digestOf(answer.body)
    if (answer.status !== 404) assert.equal(answer.header('docker-content-digest'), read, describe(answer))
    this.#note(client, tag, begin, { text: `get ${read}`, apply: (state) => (state === read ? state : undefined) })
  }

  async #deleteTag(client: number, tag: Tag): Promise<void> {
    const begin = this.#clock++
    const answer = await this.#client.delete(`/v2/${this.#name}/manifests/${tag}`)
    assert.ok([202, 404].includes(answer.status), describe(answer))
    const wasThere = answer.status === 202
    this.#note(client, tag, begin, {
      text: `delete: ${answer.status}`,
      apply: (state) => (wasThere === (state !== NONE) ? NONE : undefined),
    })
  }

  /** With a manifest go all tags that stand for it; where there is none, no tag stands for it. */
  async #deleteImage(client: number, { digest }: Image): Promise<void> {
    const begin = this.#clock++
    const answer = await this.#client.delete(`/v2/${this.#name}/manifests/${digest}`)
    assert.ok([202, 404].includes(answer.status), describe(answer))
    const wasThere = answer.status === 202
    for (const tag of TAGS) {
      this.#note(client, tag, begin, {
        text: `delete ${digest}: ${answer.status}`,
        apply: (state) => (state !== digest ? state : wasThere ? NONE : undefined),
      })
    }
  }

  /** Once all images are deleted the collector takes their config: a push is refused then, and nothing has happened. */
  async #pushConfig(answer: Parameters<typeof assertRefused>[0]): Promise<void> {
    assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN')
    await this.#client.pushBlob(this.#name, this.#config)
  }

  #note(client: number, tag: Tag, begin: number, told: Pick<Observation<string>, 'text' | 'apply'>): void {
    this.#observations.get(tag)?.[client]?.push({ begin, end: this.#clock++, ...told })
  }
}
