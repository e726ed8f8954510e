import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Descriptor, digestOf, imageDocument, mediaTypes, randomBlob } from '../content.ts'

/** A folder as CNCF distribution's `filesystem` driver writes it. */
export class DistributionStore {
  readonly folder: string
  readonly #root: string

  constructor(folder: string) {
    this.folder = folder
    this.#root = join(folder, 'docker', 'registry', 'v2')
  }

  /** Where the bytes of a digest are. */
  data(digest: string): string {
    const [algorithm = '', hex = ''] = digest.split(':')
    return join(this.#root, 'blobs', algorithm, hex.slice(0, 2), hex, 'data')
  }

  layerLink(name: string, digest: string): string {
    return join(this.#root, 'repositories', name, '_layers', digest.replace(':', '/'), 'link')
  }

  revisionLink(name: string, digest: string): string {
    return join(this.#root, 'repositories', name, '_manifests', 'revisions', digest.replace(':', '/'), 'link')
  }

  tagLink(name: string, tag: string): string {
    return join(this.#root, 'repositories', name, '_manifests', 'tags', tag, 'current', 'link')
  }

  async addBlob(name: string, bytes = randomBlob()): Promise<Descriptor> {
    const digest = digestOf(bytes)
    await write(this.data(digest), bytes)
    await write(this.layerLink(name, digest), digest)
    return { mediaType: mediaTypes.octetStream, digest, size: bytes.length }
  }

  async addManifest(name: string, bytes: Buffer, mediaType: string, tag?: string): Promise<Descriptor> {
    const digest = digestOf(bytes)
    await write(this.data(digest), bytes)
    await write(this.revisionLink(name, digest), digest)
    if (tag !== undefined) await this.tag(name, tag, digest)
    return { mediaType, digest, size: bytes.length }
  }

  async tag(name: string, tag: string, digest: string): Promise<void> {
    await write(this.tagLink(name, tag), digest)
  }

  /** An image of a config and some layers. */
  async addImage(name: string, tag?: string, layers: readonly Buffer[] = [randomBlob(1_000)]) {
    const config = await this.addBlob(name)
    const descriptors = []
    for (const layer of layers) descriptors.push(await this.addBlob(name, layer))
    const bytes = imageDocument(config, descriptors)
    const descriptor = await this.addManifest(name, bytes, mediaTypes.image, tag)
    return { bytes, descriptor, config, layers: descriptors }
  }

  async remove(path: string): Promise<void> {
    await rm(path)
  }
}

async function write(path: string, bytes: Buffer | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, bytes)
}
