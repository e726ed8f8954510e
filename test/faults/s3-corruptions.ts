import { createHash, randomUUID } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { run } from '../clients/programs.ts'
import type { MinioServer } from '../minio-server.ts'
import type { Random } from '../random.ts'
import type { Expected, Field } from './corruptions.ts'
import type { VariedStore } from './varied-store.ts'

/** A folder of a bucket that MinIO keeps, in which every key is a folder of the disk. */
export class HarmedBucket {
  readonly #minio: Pick<MinioServer, 'folder' | 'storage'>
  readonly #folder: string

  /** @param folder what all its keys begin with. */
  constructor(minio: Pick<MinioServer, 'folder' | 'storage'>, folder: string) {
    this.#minio = minio
    this.#folder = folder
  }

  path(key: string): string {
    return join(this.#minio.folder, this.#folder, key)
  }

  /** Copies everything into another folder of the bucket. */
  async copyTo(folder: string): Promise<HarmedBucket> {
    const copy = new HarmedBucket(this.#minio, folder)
    await cp(this.path(''), copy.path(''), { recursive: true })
    return copy
  }

  /** The name of a digest, and the object that it names. */
  async markerOf(digest: string): Promise<{ key: string; sizeBytes: number; object: string }> {
    const folder = markerFolder(digest)
    const [name = ''] = await readdir(this.path(folder))
    const [size, ...id] = name.split('-')
    return { key: `${folder}/${name}`, sizeBytes: Number(size), object: `objects/${id.join('-')}` }
  }

  async move(key: string, target: string): Promise<void> {
    await mkdir(dirname(this.path(target)), { recursive: true })
    await rename(this.path(key), this.path(target))
  }

  async copy(key: string, target: string): Promise<void> {
    await cp(this.path(key), this.path(target), { recursive: true })
  }

  async remove(key: string): Promise<void> {
    await rm(this.path(key), { recursive: true })
  }

  async get(key: string): Promise<Buffer> {
    return this.#beside(async (file) => {
      await run('curl', [...this.#signed(Buffer.alloc(0)), '--output', file, this.#url(key)])
      return readFile(file)
    })
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    await this.#beside(async (file) => {
      await writeFile(file, bytes)
      const sent = bytes.length === 0 ? ['--header', 'content-length: 0'] : ['--data-binary', `@${file}`]
      await run('curl', [...this.#signed(bytes), ...sent, '--request', 'PUT', this.#url(key)])
    })
  }

  /** Runs work with the name of a file that is then removed. */
  async #beside<Result>(work: (file: string) => Promise<Result>): Promise<Result> {
    const file = join(tmpdir(), `entrepot-object-${randomUUID()}`)
    try {
      return await work(file)
    } finally {
      await rm(file, { force: true })
    }
  }

  #url(key: string): string {
    const { regionendpoint, bucket } = this.#minio.storage
    return `${regionendpoint}/${bucket}/${this.#folder}/${key}`
  }

  #signed(body: Buffer): string[] {
    const { accesskey, secretkey } = this.#minio.storage
    const hash = `x-amz-content-sha256: ${createHash('sha256').update(body).digest('hex')}`
    const signer = ['--aws-sigv4', 'aws:amz:us-east-1:s3', '--user', `${accesskey}:${secretkey}`]
    return ['--silent', '--fail', ...signer, '--header', hash]
  }
}

/** What a corruption works on. */
interface Harmed {
  readonly bucket: HarmedBucket
  readonly store: VariedStore
  readonly random: Random
}

/** Something that goes wrong with a bucket, and what a check says of it. */
export interface S3Corruption {
  readonly name: string
  readonly apply: (harmed: Harmed) => Promise<void>
  readonly expected: (store: VariedStore) => Expected
  /** What the same corruption also makes wrong. */
  readonly consequences?: readonly string[]
}

const OTHER = `sha256:${'5'.repeat(64)}`

/** Where the names of a digest are. */
function markerFolder(digest: string): string {
  const [algorithm, hex] = digest.split(':')
  return `digests/${algorithm}/${hex}`
}

/** Harm to the object of one content. */
function object(
  name: string,
  field: Field,
  kind: string,
  harm: (bytes: Buffer, random: Random) => Buffer,
): S3Corruption {
  return {
    name: `${name} (${field})`,
    apply: async ({ bucket, store, random }) => {
      const { object } = await bucket.markerOf(store[field])
      await bucket.put(object, harm(await bucket.get(object), random))
    },
    expected: (store) => [[kind, store[field]]],
  }
}

type Place = Awaited<ReturnType<HarmedBucket['markerOf']>>

/** Harm to the names of one content. */
function names(
  name: string,
  field: Field,
  kinds: readonly (readonly [kind: string, hasDigest: boolean])[],
  harm: (bucket: HarmedBucket, place: Place, store: VariedStore) => Promise<void>,
): S3Corruption {
  return {
    name: `${name} (${field})`,
    apply: async ({ bucket, store }) => harm(bucket, await bucket.markerOf(store[field]), store),
    expected: (store) => kinds.map(([kind, hasDigest]) => [kind, hasDigest ? store[field] : undefined]),
  }
}

/** Something that lies about. */
function stray(name: string, kind: string, keys: readonly string[]): S3Corruption {
  return {
    name,
    apply: async ({ bucket }) => {
      for (const key of keys) await bucket.put(key, Buffer.from(key.startsWith('objects/') ? 'left' : ''))
    },
    expected: () => [[kind]],
  }
}

const flip = (bytes: Buffer, random: Random) => {
  const at = random.below(bytes.length)
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at)
  return bytes
}

const MISSING = [['content-missing', true]] as const
const LEFT = [...MISSING, ['upload-without-row', false]] as const

/** Every corruption of a bucket that is known here. */
export const S3_CORRUPTIONS: readonly S3Corruption[] = [
  ...(['config', 'layer', 'largeLayer', 'image', 'sha512Image', 'index', 'nestedIndex', 'referrer'] as const).map(
    (field) => object('a bit of an object flips', field, 'content-damaged', flip),
  ),
  ...(['layer', 'largeLayer', 'image'] as const).flatMap((field) => [
    object('an object is cut', field, 'content-damaged', (bytes, random) =>
      bytes.subarray(0, random.below(bytes.length)),
    ),
    object('an object is emptied', field, 'content-damaged', () => Buffer.alloc(0)),
    object('an object grows', field, 'content-damaged', (bytes, random) =>
      Buffer.concat([bytes, random.bytes(random.between(1, 5_000))]),
    ),
    object('other bytes of the same length come', field, 'content-damaged', (bytes, random) =>
      random.bytes(bytes.length),
    ),
    names('an object is gone', field, MISSING, async (bucket, { object }) => bucket.remove(object)),
    names('a name is gone', field, LEFT, async (bucket, { key }) => bucket.remove(key)),
    names('a name tells of an absent object', field, LEFT, async (bucket, { key, sizeBytes }) =>
      bucket.move(key, `${dirname(key)}/${sizeBytes}-${randomUUID()}`),
    ),
    names('a name says another size', field, [['name-wrong', true]], async (bucket, { key, sizeBytes, object }) =>
      bucket.move(key, `${dirname(key)}/${sizeBytes + 1}-${object.slice('objects/'.length)}`),
    ),
    names('content has a second name, of nothing', field, [['name-wrong', true]], async (bucket, { key, sizeBytes }) =>
      bucket.put(`${dirname(key)}/${sizeBytes}-${randomUUID()}`, Buffer.alloc(0)),
    ),
  ]),
  names('content is stored twice', 'layer', [['name-wrong', true]], async (bucket, { key, sizeBytes, object }) => {
    const id = randomUUID()
    await bucket.copy(object, `objects/${id}`)
    await bucket.put(`${dirname(key)}/${sizeBytes}-${id}`, Buffer.alloc(0))
  }),
  names('a name is in another place', 'layer', [...MISSING, ['stray-name', false]], async (bucket, { key }) =>
    bucket.move(key, `digests/sha256/elsewhere/${key.split('/').at(-1)}`),
  ),
  {
    name: 'two objects of the same length change places',
    apply: async ({ bucket, store }) => {
      const [one, other] = [await bucket.markerOf(store.layer), await bucket.markerOf(store.otherLayer)]
      await bucket.move(one.object, 'swapped')
      await bucket.move(other.object, one.object)
      await bucket.move('swapped', other.object)
    },
    expected: (store) => [
      ['content-damaged', store.layer],
      ['content-damaged', store.otherLayer],
    ],
  },
  {
    name: 'all names of an algorithm are gone',
    apply: async ({ bucket }) => bucket.remove('digests/sha512'),
    expected: (store) => [['content-missing', store.sha512Image]],
    consequences: ['content-missing'],
  },
  {
    name: 'the disk of the store rots',
    apply: async ({ bucket, store, random }) => {
      const { object } = await bucket.markerOf(store.largeLayer)
      const [folder = ''] = (await readdir(bucket.path(object))).filter((name) => name !== 'xl.meta')
      const part = join(bucket.path(object), folder, 'part.1')
      await writeFile(part, flip(await readFile(part), random))
    },
    expected: (store) => [['content-unreadable', store.largeLayer]],
  },
  stray('an object has no name', 'upload-without-row', [`objects/${randomUUID()}`]),
  stray('an upload has no row', 'upload-without-row', [
    `objects/${OTHER.slice(-12)}`,
    `uploads/${randomUUID()}/${'0'.repeat(16)}-4-${OTHER.slice(-12)}`,
  ]),
  stray('content has no row', 'file-without-row', [
    `objects/${OTHER.slice(-12)}`,
    `${markerFolder(OTHER)}/4-${OTHER.slice(-12)}`,
  ]),
  stray('content is in quarantine', 'quarantined', [
    `objects/${OTHER.slice(-12)}`,
    `quarantine/${markerFolder(OTHER).slice('digests/'.length)}/4-${OTHER.slice(-12)}`,
  ]),
  ...['digests/note', 'uploads/note', 'quarantine/sha256/note'].map((key) =>
    stray(`something else is in the bucket (${key})`, 'stray-name', [key]),
  ),
]
