import { createHash } from 'node:crypto'
import { type Digest, digestAlgorithm, digestHex, isDigest } from '@entrepot/oci'
import * as z from 'zod'
import { digestOf } from '#core/blobs'
import { type ArchivedFile, type ImageArchive, readWhole } from './image-archive.ts'

const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar'
const GZIP_MAGIC = 0x1f8b

/** A manifest that an archive begins with, and what it is to be called. */
export interface ArchivedRoot {
  readonly digest: Digest
  readonly mediaType: string
  /** `name:tag`, a name, a tag, or nothing: what the archive says. */
  readonly names: readonly string[]
}

/** The images of an archive, whichever form it has. */
export interface ArchivedImages {
  readonly roots: readonly ArchivedRoot[]
  find(digest: Digest): Promise<ArchivedFile | undefined>
}

const descriptor = z.object({
  mediaType: z.string(),
  digest: z.string().refine(isDigest, 'it is not a digest that can be verified'),
  annotations: z.record(z.string(), z.string()).nullish(),
})
const layoutIndex = z.object({ manifests: z.array(descriptor) })
const dockerManifest = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()).nullish() }),
)

/** Reads an OCI image layout (image-spec, "Image Layout"). @throws when it is none. */
export async function readLayout(archive: ImageArchive): Promise<ArchivedImages> {
  const { manifests } = layoutIndex.parse(await readJson(archive, 'index.json'))
  return {
    roots: manifests.map(({ digest, mediaType, annotations }) => ({ digest, mediaType, names: namesIn(annotations) })),
    find: async (digest) => archive.find(`blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`),
  }
}

/**
 * Reads what `docker save` and `podman save` write: configs and layers, for which manifests of Docker's schema 2 are made.
 * Layers stay as they are, uncompressed.
 * @throws when it is none.
 */
export async function readDockerArchive(archive: ImageArchive): Promise<ArchivedImages> {
  const files = new Map<Digest, ArchivedFile>()
  const roots: ArchivedRoot[] = []
  for (const { Config, RepoTags, Layers } of dockerManifest.parse(await readJson(archive, 'manifest.json'))) {
    const config = await readDescriptor(archive, Config, files)
    const layers = []
    for (const name of Layers ?? []) layers.push(await readDescriptor(archive, name, files))
    const document = {
      schemaVersion: 2,
      mediaType: DOCKER_MANIFEST,
      config: { mediaType: DOCKER_CONFIG, size: config.size, digest: config.digest },
      layers: layers.map(({ isCompressed, size, digest }) => ({
        mediaType: isCompressed ? `${DOCKER_LAYER}.gzip` : DOCKER_LAYER,
        size,
        digest,
      })),
    }
    const bytes = Buffer.from(JSON.stringify(document))
    const digest = digestOf('sha256', bytes)
    files.set(digest, {
      sizeBytes: bytes.length,
      bytes: async function* () {
        yield Buffer.from(bytes)
      },
    })
    roots.push({ digest, mediaType: DOCKER_MANIFEST, names: RepoTags ?? [] })
  }
  return { roots, find: async (digest) => files.get(digest) }
}

/** Hashes a file, for what the archive calls it need not be its digest. */
async function readDescriptor(archive: ImageArchive, name: string, files: Map<Digest, ArchivedFile>) {
  const file = await archive.find(name)
  if (file === undefined) throw new Error(`the archive has no ${name}, which its manifest.json names`)
  const hash = createHash('sha256')
  let isCompressed: boolean | undefined
  for await (const chunk of file.bytes()) {
    isCompressed ??= chunk.length > 1 && Buffer.from(chunk.subarray(0, 2)).readUInt16BE(0) === GZIP_MAGIC
    hash.update(chunk)
  }
  const digest: Digest = `sha256:${hash.digest('hex')}`
  files.set(digest, file)
  return { digest, size: file.sizeBytes, isCompressed: isCompressed ?? false }
}

async function readJson(archive: ImageArchive, name: string): Promise<unknown> {
  const file = await archive.find(name)
  const bytes = file === undefined ? undefined : await readWhole(file, MAX_DOCUMENT_BYTES)
  if (bytes === undefined) throw new Error(`there is no ${name} in it: it has another form, or is not whole`)
  return JSON.parse(bytes.toString('utf8'))
}

/** What tools call an image: its whole name, or only a tag. */
function namesIn(annotations: Record<string, string> | null | undefined): string[] {
  const name = annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name']
  return name === undefined ? [] : [name]
}
