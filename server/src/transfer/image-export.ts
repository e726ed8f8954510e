import {
  type Descriptor,
  type Digest,
  digestAlgorithm,
  digestHex,
  isDigest,
  isForeignLayerType,
  type Manifest,
  OCI_IMAGE_INDEX,
  parseAccept,
  parseManifest,
  type Reference,
  RegistryError,
} from '@entrepot/oci'
import { ContentHash } from '#core/blobs'
import type { BlobReader, ManifestReader, ServedManifest } from '#formats/oci'
import type { ArchiveForm } from './image-import.ts'
import { tarEnd, tarHeader, tarPadding } from './tar-writer.ts'

const READ_SIZE_BYTES = 1024 * 1024
const DEFAULT_PLATFORM = { os: 'linux', architecture: 'amd64' }

export interface ImageExportOptions {
  readonly form: ArchiveForm
  readonly repository: string
  readonly reference: Reference
}

export interface ImageExportDependencies {
  readonly manifests: ManifestReader
  readonly blobsOfRepositories: BlobReader
}

/** What goes into an archive. */
interface Content {
  /** Manifests with their bytes, each after what it lists. */
  readonly manifests: Map<Digest, ServedManifest>
  /** Blobs with their sizes in bytes. */
  readonly blobs: Map<Digest, number>
}

/**
 * Writes an image, or an index with all its images, as a tar archive of an OCI image layout, or one image as `docker save`
 * does.
 * @returns the archive, in pieces; everything that it needs is known to be there when the promise resolves.
 * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN, BLOB_UNKNOWN, UNSUPPORTED
 */
export async function exportImages(
  dependencies: ImageExportDependencies,
  options: ImageExportOptions,
): Promise<AsyncGenerator<Uint8Array>> {
  const { form, repository, reference } = options
  let root = await getManifest(dependencies, repository, reference)
  if (form === 'docker-archive') root = await chooseImage(dependencies, repository, root)
  const content: Content = { manifests: new Map(), blobs: new Map() }
  await collect(dependencies, repository, { root, content })
  const name = 'tag' in reference ? `${repository}:${reference.tag}` : undefined
  if (form === 'docker-archive') {
    // Podman takes what is both for a layout, and then does not know its name.
    const documents = new Map([['manifest.json', dockerManifest(root, name)]])
    return write(dependencies, repository, { documents, content: { ...content, manifests: new Map() } })
  }
  const documents = new Map([
    ['oci-layout', toJson({ imageLayoutVersion: '1.0.0' })],
    ['index.json', layoutIndex(root, reference)],
  ])
  return write(dependencies, repository, { documents, content })
}

async function getManifest(
  { manifests }: ImageExportDependencies,
  repository: string,
  reference: Reference,
): Promise<ServedManifest> {
  return manifests.get(repository, reference, parseAccept(undefined))
}

/** The image of an index that a Docker archive, which holds one, is made of. */
async function chooseImage(
  dependencies: ImageExportDependencies,
  repository: string,
  root: ServedManifest,
): Promise<ServedManifest> {
  const manifest = parseManifest(root.bytes, root.mediaType)
  if (manifest.kind === 'image') return root
  const match = manifest.manifests.find(
    ({ platform }) => platform?.os === DEFAULT_PLATFORM.os && platform.architecture === DEFAULT_PLATFORM.architecture,
  )
  const chosen = match ?? (manifest.manifests.length === 1 ? manifest.manifests[0] : undefined)
  if (chosen === undefined || !isDigest(chosen.digest)) {
    const message = 'a Docker archive holds one image, and this index has none for linux/amd64: name one by its digest'
    throw new RegistryError('UNSUPPORTED', message, { status: 400 })
  }
  return chooseImage(dependencies, repository, await getManifest(dependencies, repository, { digest: chosen.digest }))
}

async function collect(
  dependencies: ImageExportDependencies,
  repository: string,
  { root, content }: { root: ServedManifest; content: Content },
): Promise<void> {
  if (content.manifests.has(root.digest)) return
  const manifest = parseManifest(root.bytes, root.mediaType)
  for (const child of childrenOf(manifest)) {
    const { digest } = child
    if (!isDigest(digest) || content.blobs.has(digest)) continue
    const found = manifest.kind === 'index' ? await findManifest(dependencies, repository, digest) : undefined
    if (found !== undefined) await collect(dependencies, repository, { root: found, content })
    else {
      const sizeBytes = await findBlob(dependencies, repository, { child, isOptional: manifest.kind === 'index' })
      if (sizeBytes !== undefined) content.blobs.set(digest, sizeBytes)
    }
  }
  content.manifests.set(root.digest, root)
}

function childrenOf(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers]
}

/** An index may list what the repository does not have. */
async function findManifest(
  dependencies: ImageExportDependencies,
  repository: string,
  digest: Digest,
): Promise<ServedManifest | undefined> {
  return getManifest(dependencies, repository, { digest }).catch(ignoreUnknown)
}

async function findBlob(
  { blobsOfRepositories }: ImageExportDependencies,
  repository: string,
  { child, isOptional }: { child: Descriptor; isOptional: boolean },
): Promise<number | undefined> {
  if (!isDigest(child.digest)) return undefined
  try {
    const { sizeBytes, content } = await blobsOfRepositories.get(repository, child.digest, false)
    if (!(content instanceof Uint8Array)) await content.close()
    return sizeBytes
  } catch (error) {
    if (isOptional || isForeignLayerType(child.mediaType)) return ignoreUnknown(error)
    throw error
  }
}

function ignoreUnknown(error: unknown): undefined {
  if (error instanceof RegistryError && error.status === 404) return undefined
  throw error
}

function layoutIndex({ digest, mediaType, bytes }: ServedManifest, reference: Reference): Buffer {
  const annotations = 'tag' in reference ? { 'org.opencontainers.image.ref.name': reference.tag } : undefined
  const descriptor = { mediaType, digest, size: bytes.length, ...(annotations && { annotations }) }
  return toJson({ schemaVersion: 2, mediaType: OCI_IMAGE_INDEX, manifests: [descriptor] })
}

/** What `docker load` reads where it knows no layout. */
function dockerManifest({ bytes, mediaType }: ServedManifest, name: string | undefined): Buffer {
  const manifest = parseManifest(bytes, mediaType)
  if (manifest.kind === 'index') throw new Error('an index was to be written as one image')
  const { config, layers } = manifest
  const Layers = layers.map(nameOf)
  return toJson([{ Config: nameOf(config), RepoTags: name === undefined ? [] : [name], Layers }])
}

async function* write(
  dependencies: ImageExportDependencies,
  repository: string,
  { documents, content }: { documents: ReadonlyMap<string, Buffer>; content: Content },
): AsyncGenerator<Uint8Array> {
  for (const [name, bytes] of documents) yield* fileOf(name, bytes)
  for (const [digest, sizeBytes] of content.blobs) {
    yield tarHeader(blobName(digest), sizeBytes)
    yield* blobBytes(dependencies, repository, digest)
    yield tarPadding(sizeBytes)
  }
  for (const { digest, bytes } of content.manifests.values()) yield* fileOf(blobName(digest), bytes)
  yield tarEnd()
}

function* fileOf(name: string, bytes: Buffer): Generator<Uint8Array> {
  yield tarHeader(name, bytes.length)
  yield bytes
  yield tarPadding(bytes.length)
}

/** The bytes of a blob; the archive is cut off where they are not those of its digest. */
async function* blobBytes(
  { blobsOfRepositories }: ImageExportDependencies,
  repository: string,
  digest: Digest,
): AsyncGenerator<Uint8Array> {
  const { sizeBytes, content } = await blobsOfRepositories.get(repository, digest, false)
  if (content instanceof Uint8Array) {
    yield content
    return
  }
  try {
    const hash = new ContentHash(digestAlgorithm(digest))
    for (let position = 0; position < sizeBytes;) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE_BYTES, sizeBytes - position))
      const length = await content.read(buffer, position)
      if (length === 0) break
      position += length
      yield* await hash.update([buffer.subarray(0, length)])
    }
    if ((await hash.digest()) !== digest) throw new Error(`the content of ${digest} is damaged`)
  } finally {
    await content.close()
  }
}

function blobName(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`
}

function nameOf({ digest }: Descriptor): string {
  return isDigest(digest) ? blobName(digest) : digest
}

function toJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
