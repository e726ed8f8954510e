import assert from 'node:assert/strict'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { at, listAt, parseJson } from './json.ts'
import {
  type Descriptor,
  descriptorAt,
  descriptors,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  type HeldImage,
  OCI_INDEX,
  OCI_MANIFEST,
  type OciLayout,
  sha256,
} from './oci-layout.ts'

const MANIFEST_TYPES = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(', ')

/** An image as the registry serves it, read by plain HTTP with every byte checked. */
export interface ServedImage extends HeldImage {
  readonly mediaType: string
  readonly layers: readonly Descriptor[]
}

/** A manifest or index as the registry serves it. */
export interface ServedManifest {
  readonly digest: string
  readonly mediaType: string
  readonly document: unknown
}

/** The neutral witness: reads what clients have left in a registry without any of them. */
export class RegistryContent {
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  /** Gets a manifest; its bytes must have the digest that the header says (distribution-spec, "Pulling manifests"). */
  async manifest(repository: string, reference: string): Promise<ServedManifest> {
    const answer = await this.#get(`${repository}/manifests/${reference}`, MANIFEST_TYPES)
    const bytes = Buffer.from(await answer.arrayBuffer())
    const digest = sha256(bytes)
    assert.equal(answer.headers.get('docker-content-digest'), digest)
    assert.equal(answer.headers.get('content-length'), String(bytes.length))
    if (reference.includes(':')) assert.equal(digest, reference)
    return { digest, mediaType: answer.headers.get('content-type') ?? '', document: parseJson(bytes) }
  }

  /** Gets an image with its configuration and layers; each must be what its descriptor and the configuration say. */
  async image(repository: string, reference: string): Promise<ServedImage> {
    const { digest, mediaType, document } = await this.manifest(repository, reference)
    const config = descriptorAt(document, 'config')
    const layers = descriptors(listAt(document, 'layers'))
    const promised = listAt(parseJson(await this.blob(repository, config)), 'rootfs', 'diff_ids')
    const diffIds: string[] = []
    for (const layer of layers) diffIds.push(sha256(uncompressed(layer, await this.blob(repository, layer))))
    assert.deepEqual(diffIds, promised, `the layers of ${repository}:${reference} are not those of its configuration`)
    return { digest, mediaType, config: config.digest, layers, diffIds }
  }

  /** Gets an index and each image in it. */
  async index(repository: string, reference: string): Promise<ServedManifest & { images: Map<string, ServedImage> }> {
    const manifest = await this.manifest(repository, reference)
    const images = new Map<string, ServedImage>()
    for (const child of descriptors(listAt(manifest.document, 'manifests'))) {
      images.set(child.platform?.architecture ?? '', await this.image(repository, child.digest))
    }
    return { ...manifest, images }
  }

  /** Puts what a layout names into a repository, blobs first, as the specification tells a client to. */
  async put(layout: OciLayout, repository: string, tag: string): Promise<void> {
    const [root] = await layout.roots()
    if (root === undefined) throw new Error(`${layout.folder} names nothing`)
    await this.#putManifest(layout, repository, root, tag)
  }

  async #putManifest(layout: OciLayout, repository: string, root: Descriptor, reference: string): Promise<void> {
    const bytes = await layout.read(root)
    const document = parseJson(bytes)
    for (const child of descriptorsAt(document, 'manifests')) {
      await this.#putManifest(layout, repository, child, child.digest)
    }
    const config = at(document, 'config') === undefined ? [] : [descriptorAt(document, 'config')]
    for (const blob of [...config, ...descriptorsAt(document, 'layers')]) {
      const start = await fetch(`${this.#url}/v2/${repository}/blobs/uploads/`, { method: 'POST' })
      const location = new URL(start.headers.get('location') ?? '', this.#url)
      location.searchParams.set('digest', blob.digest)
      await this.#putBytes(location.href, await layout.read(blob), 'application/octet-stream')
    }
    await this.#putBytes(`${this.#url}/v2/${repository}/manifests/${reference}`, bytes, root.mediaType)
  }

  async #putBytes(url: string, bytes: Buffer, contentType: string): Promise<void> {
    const body = new Uint8Array(bytes)
    const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': contentType }, body })
    if (answer.status !== 201) assert.fail(`PUT ${url} answered ${answer.status}: ${await answer.text()}`)
  }

  async blob(repository: string, descriptor: Descriptor): Promise<Buffer> {
    const answer = await this.#get(`${repository}/blobs/${descriptor.digest}`, '*/*')
    const bytes = Buffer.from(await answer.arrayBuffer())
    assert.equal(sha256(bytes), descriptor.digest)
    assert.equal(bytes.length, descriptor.size)
    return bytes
  }

  /** The referrers of a manifest (distribution-spec, "Listing Referrers"). */
  async referrers(repository: string, digest: string): Promise<Descriptor[]> {
    const answer = await this.#get(`${repository}/referrers/${digest}`, OCI_INDEX)
    assert.equal(answer.headers.get('content-type'), OCI_INDEX)
    return descriptors(listAt(await answer.json(), 'manifests'))
  }

  /** The tags of a repository, or nothing when the registry does not know it. */
  async tags(repository: string): Promise<unknown[]> {
    const answer = await fetch(`${this.#url}/v2/${repository}/tags/list`)
    const body: unknown = await answer.json()
    return answer.status === 404 ? [] : listAt(body, 'tags')
  }

  /** The status of a HEAD request for a manifest. */
  async status(repository: string, reference: string): Promise<number> {
    const url = `${this.#url}/v2/${repository}/manifests/${reference}`
    const answer = await fetch(url, { method: 'HEAD', headers: { accept: MANIFEST_TYPES } })
    return answer.status
  }

  async #get(path: string, accept: string): Promise<Response> {
    const answer = await fetch(`${this.#url}/v2/${path}`, { headers: { accept } })
    if (answer.status !== 200) assert.fail(`GET ${path} answered ${answer.status}: ${await answer.text()}`)
    return answer
  }
}

/** The part of a served image that a client can hold as well. */
export function asHeld(image: HeldImage): HeldImage {
  return { digest: image.digest, config: image.config, diffIds: image.diffIds }
}

/** The children of an index, by architecture. */
export function childrenOf(index: ServedManifest): Map<string, string> {
  const children = descriptors(listAt(index.document, 'manifests'))
  return new Map(children.map((child) => [child.platform?.architecture ?? '', child.digest]))
}

function descriptorsAt(document: unknown, key: string): Descriptor[] {
  const found = at(document, key)
  return Array.isArray(found) ? descriptors(found) : []
}

function uncompressed(layer: Descriptor, bytes: Buffer): Buffer {
  if (layer.mediaType.endsWith('zstd')) return zstdDecompressSync(bytes)
  return layer.mediaType.endsWith('gzip') ? gunzipSync(bytes) : bytes
}

/** The subject of a manifest (image-spec, manifest.md). */
export function subjectOf(manifest: ServedManifest): unknown {
  return at(manifest.document, 'subject', 'digest')
}
