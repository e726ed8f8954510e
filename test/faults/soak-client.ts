import assert from 'node:assert/strict'
import { digestOf, imageDocument, mediaTypes } from '../content.ts'
import type { Random } from '../random.ts'
import { type RegistryClient, assertContent, describe } from '../registry-client.ts'

/** So many images of a client stay; older ones it deletes. */
const KEPT = 3
const CONNECTION_ERRORS = new Set(['ECONNRESET', 'ECONNREFUSED', 'EPIPE'])

interface Content {
  readonly bytes: Buffer
  readonly digest: string
}

interface Build {
  readonly image: Content
  readonly signature: Content
  readonly blobs: readonly Content[]
}

/** A client that builds, signs, pulls and deletes images in a repository of its own, and goes on after each crash. */
export class SoakClient {
  readonly #name: string
  readonly #random: Random
  readonly #base: Content
  #builds: Build[] = []
  #pushing: Build | undefined
  #deleting: Build | undefined
  /** How many images were acknowledged with all that belongs to them. */
  pushed = 0

  constructor(name: string, random: Random) {
    this.#name = name
    this.#random = random
    this.#base = contentOf(random.bytes(300_000))
  }

  /** Works until the server ends or `isOver` says so; what the end cut off is done again by the next call. */
  async work(client: RegistryClient, isOver: () => boolean): Promise<void> {
    try {
      while (!isOver()) await this.#next(client)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && CONNECTION_ERRORS.has(String(error.code)))) throw error
    }
  }

  /** Does what was begun to its end, and deletes what is too old. */
  async finish(client: RegistryClient): Promise<void> {
    await this.#next(client)
  }

  /** Asserts that all that was acknowledged is served. */
  async verify(client: RegistryClient): Promise<void> {
    for (const { image, signature, blobs } of this.#builds) {
      for (const manifest of [image, signature]) {
        assertContent(await client.get(`/v2/${this.#name}/manifests/${manifest.digest}`), manifest)
      }
      for (const blob of blobs) assertContent(await client.get(`/v2/${this.#name}/blobs/${blob.digest}`), blob)
    }
  }

  /** The digests of all that must be stored for this client in the end. */
  get reachable(): readonly string[] {
    return this.#builds.flatMap(({ image, signature, blobs }) =>
      [image, signature, ...blobs].map((content) => content.digest),
    )
  }

  async #next(client: RegistryClient): Promise<void> {
    this.#pushing ??= this.#plan()
    await this.#push(client, this.#pushing)
    this.#builds.push(this.#pushing)
    this.#pushing = undefined
    this.pushed += 1
    await this.#pullOne(client)
    while (this.#deleting !== undefined || this.#builds.length > KEPT) {
      this.#deleting ??= this.#builds.shift()
      for (const manifest of [this.#deleting?.signature, this.#deleting?.image]) {
        const answer = await client.delete(`/v2/${this.#name}/manifests/${manifest?.digest}`)
        // The request that a crash cut off may have done it.
        assert.ok([202, 404].includes(answer.status), describe(answer))
      }
      this.#deleting = undefined
    }
  }

  #plan(): Build {
    const blobs = [
      contentOf(this.#random.bytes(500)),
      this.#base,
      contentOf(this.#random.bytes(this.#random.size(1_000, 200_000))),
    ]
    const [config, ...layers] = blobs.map(({ bytes, digest }) => ({
      mediaType: mediaTypes.octetStream,
      digest,
      size: bytes.length,
    }))
    assert.ok(config !== undefined)
    const image = contentOf(imageDocument(config, layers))
    const subject = { mediaType: mediaTypes.image, digest: image.digest, size: image.bytes.length }
    return { image, signature: contentOf(imageDocument(config, [], { subject })), blobs }
  }

  async #push(client: RegistryClient, { image, signature, blobs }: Build): Promise<void> {
    for (const { bytes, digest } of blobs) {
      // What a crash left of a blob's bytes is there to be found: each blob is sent again, whether or not it is there.
      if (bytes !== this.#base.bytes || (await client.head(`/v2/${this.#name}/blobs/${digest}`)).status === 404) {
        await this.#pushBlob(client, bytes)
      }
    }
    for (const [manifest, tag] of [
      [image, 'latest'],
      [signature, 'signature'],
    ] as const) {
      const answer = await client.putManifest(this.#name, tag, manifest.bytes, mediaTypes.image)
      assert.equal(answer.status, 201, describe(answer))
    }
  }

  async #pushBlob(client: RegistryClient, bytes: Buffer): Promise<void> {
    const url = await client.startUpload(this.#name)
    const middle = Math.floor(bytes.length / 2)
    const half = await client.patchChunk(url, bytes.subarray(0, middle))
    assert.equal(half.status, 202, describe(half))
    const answer = await client.putBlob(client.location(half), digestOf(bytes), bytes.subarray(middle))
    assert.equal(answer.status, 201, describe(answer))
  }

  async #pullOne(client: RegistryClient): Promise<void> {
    const { image, signature, blobs } = this.#random.pick(this.#builds)
    assertContent(await client.get(`/v2/${this.#name}/manifests/${image.digest}`), image)
    const referrers = await client.get(`/v2/${this.#name}/referrers/${image.digest}`)
    assert.ok(referrers.body.includes(signature.digest), describe(referrers))
    const blob = this.#random.pick(blobs)
    assertContent(await client.get(`/v2/${this.#name}/blobs/${blob.digest}`), blob)
  }
}

function contentOf(bytes: Buffer): Content {
  return { bytes, digest: digestOf(bytes) }
}
