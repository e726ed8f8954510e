import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { at, listAt, numberAt, parseJson, textAt } from './json.ts'

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { architecture: string; os: string }
  readonly artifactType?: string
}

/** What a client holds of one image: enough to tell it from every other image, and its bytes from damaged ones. */
export interface HeldImage {
  /** Digest of the manifest, or of the index when the reference names one. */
  readonly digest: string
  /** Digest of the configuration; for an index that of its amd64 image. */
  readonly config: string
  /** Digests of the uncompressed layers, lowest first. */
  readonly diffIds: readonly string[]
}

export function sha256(bytes: string | Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return `sha256:${hash.digest('hex')}`
}

/** An OCI image layout (image-spec, image-layout.md) in a folder: `oci-layout`, `index.json`, `blobs/sha256/<hex>`. */
export class OciLayout {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  static async create(folder: string): Promise<OciLayout> {
    await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true })
    await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    return new OciLayout(folder)
  }

  blobPath(digest: string): string {
    return join(this.folder, 'blobs', ...digest.split(':'))
  }

  async addFile(path: string, mediaType: string): Promise<Descriptor> {
    const digest = await sha256OfFile(path)
    await rm(this.blobPath(digest), { force: true })
    await link(path, this.blobPath(digest))
    return { mediaType, digest, size: (await stat(path)).size }
  }

  async addJson(value: unknown, mediaType: string): Promise<Descriptor> {
    const bytes = Buffer.from(JSON.stringify(value))
    const digest = sha256(bytes)
    await writeFile(this.blobPath(digest), bytes)
    return { mediaType, digest, size: bytes.length }
  }

  /** Names one manifest or index of this layout; a layout of these tests has exactly one. */
  async setRoot(root: Descriptor, tag: string): Promise<void> {
    const entry = { ...root, annotations: { 'org.opencontainers.image.ref.name': tag } }
    await writeFile(
      join(this.folder, 'index.json'),
      JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry] }),
    )
  }

  /** The descriptors in `index.json`. */
  async roots(): Promise<Descriptor[]> {
    return descriptors(listAt(parseJson(await readFile(join(this.folder, 'index.json'))), 'manifests'))
  }

  /** Reads a blob, after checking that its bytes have the digest and size that the descriptor promises. */
  async read(descriptor: Descriptor): Promise<Buffer> {
    const bytes = await this.#readDigest(descriptor.digest)
    if (bytes.length !== descriptor.size) throw new Error(`${this.blobPath(descriptor.digest)} has another size`)
    return bytes
  }

  /** What this layout holds, every blob of it checked. */
  async held(): Promise<HeldImage> {
    const [root] = await this.roots()
    if (root === undefined) throw new Error(`${this.folder} names nothing`)
    return this.heldAt(root.digest)
  }

  /** What is held under a digest. Of an index, clients may keep the images of one platform only. */
  async heldAt(digest: string): Promise<HeldImage> {
    const manifest = parseJson(await this.#readDigest(digest))
    if (at(manifest, 'manifests') !== undefined) {
      const children = descriptors(listAt(manifest, 'manifests')).map((child) => child.digest)
      const images = await Promise.all(children.filter((child) => this.has(child)).map((child) => this.heldAt(child)))
      const [first] = images
      if (first === undefined) throw new Error(`nothing of the index ${digest} is in ${this.folder}`)
      return { ...first, digest }
    }
    const config = descriptorAt(manifest, 'config')
    for (const layer of descriptors(listAt(manifest, 'layers'))) await this.read(layer)
    const diffIds = at(parseJson(await this.read(config)), 'rootfs', 'diff_ids')
    return { digest, config: config.digest, diffIds: Array.isArray(diffIds) ? diffIds.map(String) : [] }
  }

  has(digest: string): boolean {
    return existsSync(this.blobPath(digest))
  }

  async #readDigest(digest: string): Promise<Buffer> {
    const bytes = await readFile(this.blobPath(digest))
    if (sha256(bytes) !== digest) throw new Error(`${this.blobPath(digest)} is damaged`)
    return bytes
  }
}

/** Reads a descriptor (image-spec, descriptor.md) out of a parsed document. */
export function descriptorAt(value: unknown, ...path: (string | number)[]): Descriptor {
  const found = at(value, ...path)
  const platform = at(found, 'platform')
  const artifactType = at(found, 'artifactType')
  return {
    mediaType: textAt(found, 'mediaType'),
    digest: textAt(found, 'digest'),
    size: numberAt(found, 'size'),
    ...(platform === undefined
      ? {}
      : { platform: { architecture: textAt(platform, 'architecture'), os: textAt(platform, 'os') } }),
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
  }
}

export function descriptors(values: readonly unknown[]): Descriptor[] {
  return values.map((value) => descriptorAt(value))
}
