import { type Digest, digestAlgorithm, digestHex, isDigest } from '@entrepot/oci'
import { type FileOrder, type FileOutcome, type SourceFiles, UploadedFiles } from '#core/blobs'
import { type Bucket, ObjectReader, ObjectStoreError, readObject } from '#platform/s3'
import type { DistributionSource, SourceRepository } from './distribution-source.ts'

const ROOT = 'docker/registry/v2'
/** A link says one digest. */
const MAX_LINK_BYTES = 1024
const REPOSITORY = /^(.+)\/_(?:layers|manifests)\//

/** The bucket of CNCF distribution's `s3` driver: keys are the paths that `DistributionFolder` has. */
export class DistributionBucket implements DistributionSource {
  readonly files: SourceFiles
  readonly #bucket: Bucket

  private constructor(bucket: Bucket) {
    this.#bucket = bucket
    this.files = new BucketFiles(bucket)
  }

  /** @throws when there is no registry, and ObjectStoreError when the bucket cannot be read. */
  static async open(bucket: Bucket): Promise<DistributionBucket> {
    await bucket.verify()
    if (await bucket.hasAny(`${ROOT}/repositories/`)) return new DistributionBucket(bucket)
    throw new Error(
      `${bucket.name} has no registry below ${bucket.fullKey(ROOT)}: name the configuration that CNCF distribution runs with`,
    )
  }

  async *repositories(): AsyncGenerator<SourceRepository> {
    const folder = `${ROOT}/repositories/`
    let last: string | undefined
    for await (const { key } of this.#bucket.list(folder)) {
      const name = REPOSITORY.exec(key.slice(folder.length))?.[1]
      if (name === undefined || name === last) continue
      last = name
      yield { name, path: folder + name }
    }
  }

  layers({ path }: SourceRepository): AsyncGenerator<string> {
    return this.#digestsIn(`${path}/_layers/`)
  }

  revisions({ path }: SourceRepository): AsyncGenerator<string> {
    return this.#digestsIn(`${path}/_manifests/revisions/`)
  }

  async *tags({ path }: SourceRepository): AsyncGenerator<string> {
    const folder = `${path}/_manifests/tags/`
    let last: string | undefined
    for await (const { key } of this.#bucket.list(folder)) {
      const [name] = key.slice(folder.length).split('/')
      if (name === undefined || name === last) continue
      last = name
      yield name
    }
  }

  async readTag({ path }: SourceRepository, tag: string): Promise<string | undefined> {
    return readLink(this.#bucket, `${path}/_manifests/tags/${tag}/current/link`)
  }

  layerLink({ path }: SourceRepository, digest: Digest): string {
    return `${path}/_layers/${pathOf(digest)}/link`
  }

  async hasRevision({ path }: SourceRepository, digest: Digest): Promise<boolean | undefined> {
    const text = await readLink(this.#bucket, `${path}/_manifests/revisions/${pathOf(digest)}/link`)
    return text === undefined ? undefined : text === digest
  }

  content(digest: Digest): string {
    const hex = digestHex(digest)
    return `${ROOT}/blobs/${digestAlgorithm(digest)}/${hex.slice(0, 2)}/${hex}/data`
  }

  async *contents(): AsyncGenerator<Digest> {
    for await (const { key } of this.#bucket.list(`${ROOT}/blobs/`)) {
      const [algorithm, , hex, file] = key.slice(`${ROOT}/blobs/`.length).split('/')
      const digest = `${algorithm}:${hex}`
      if (file === 'data' && isDigest(digest)) yield digest
    }
  }

  async size(digest: Digest): Promise<number | undefined> {
    return (await this.#bucket.head(this.content(digest)))?.sizeBytes
  }

  async read(digest: Digest, maxBytes: number): Promise<Buffer | undefined | null> {
    return readSmall(this.#bucket, this.content(digest), maxBytes)
  }

  async compare(orders: readonly FileOrder[]): Promise<FileOutcome[]> {
    return new UploadedFiles(undefined, this.files).prepare(orders, Number.POSITIVE_INFINITY)
  }

  /** What the names below a folder of links say: one link each. */
  async *#digestsIn(folder: string): AsyncGenerator<string> {
    for await (const { key } of this.#bucket.list(folder)) {
      const [algorithm, hex, file] = key.slice(folder.length).split('/')
      if (file === 'link') yield `${algorithm}:${hex}`
    }
  }
}

/** Files of the bucket, for whoever stores or compares them. */
class BucketFiles implements SourceFiles {
  readonly #bucket: Bucket

  constructor(bucket: Bucket) {
    this.#bucket = bucket
  }

  async checkNames(orders: readonly FileOrder[]): Promise<FileOutcome[]> {
    return Promise.all(orders.map(async (order) => this.#checkName(order)))
  }

  async *read(key: string): AsyncGenerator<Uint8Array> {
    const object = await this.#bucket.head(key)
    if (object === undefined) throw new AbsentObjectError(key)
    yield* readObject(this.#bucket, { key, ...object })
  }

  isAbsence(error: unknown): boolean {
    return error instanceof AbsentObjectError || (error instanceof ObjectStoreError && error.isGone)
  }

  async #checkName({ digest, namedIn }: FileOrder): Promise<FileOutcome> {
    if (namedIn === undefined) return { kind: 'named', digest }
    try {
      const text = await readLink(this.#bucket, namedIn)
      if (text === undefined) return { kind: 'forgotten', digest, message: `there is no link ${namedIn}` }
      if (text === digest) return { kind: 'named', digest }
      return { kind: 'unnamed', digest, message: `the link ${namedIn} does not say ${digest}` }
    } catch (error) {
      if (!(error instanceof ObjectStoreError)) throw error
      return { kind: 'unnamed', digest, message: `the link cannot be read (${error.message})` }
    }
  }
}

class AbsentObjectError extends Error {
  constructor(key: string) {
    super(`there is no content: ${key}`)
    this.name = 'AbsentObjectError'
  }
}

function pathOf(digest: Digest): string {
  return `${digestAlgorithm(digest)}/${digestHex(digest)}`
}

/** What a link says; undefined where there is none. */
async function readLink(bucket: Bucket, key: string): Promise<string | undefined> {
  const bytes = await readSmall(bucket, key, MAX_LINK_BYTES)
  if (bytes === null) return undefined
  return bytes === undefined ? '' : bytes.toString('latin1').trim()
}

/** All bytes of an object; undefined where there are more than `maxBytes`, and null where there is none. */
async function readSmall(bucket: Bucket, key: string, maxBytes: number): Promise<Buffer | undefined | null> {
  const object = await bucket.head(key)
  if (object === undefined) return null
  if (object.sizeBytes > maxBytes) return undefined
  const bytes = Buffer.alloc(object.sizeBytes)
  const reader = new ObjectReader(bucket, { key, ...object })
  try {
    if (bytes.byteLength > 0) await reader.read(bytes, 0)
    return bytes
  } finally {
    reader.close()
  }
}
