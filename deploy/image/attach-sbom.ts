import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const SBOM_TYPE = 'application/vnd.cyclonedx+json'
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json'

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

/**
 * Puts an SBOM into an OCI layout of one image, as an artifact whose subject is the image (image-spec 1.1, "Guidelines
 * for Artifact Usage"): who copies the image with its referrers has it, too.
 * @returns the digest of the image.
 */
export function attachSbom(layout: string, sbom: string, createdAt: Date): string {
  const indexFile = join(layout, 'index.json')
  const index: { manifests: Descriptor[] } = JSON.parse(readFileSync(indexFile, 'utf8'))
  const [image, ...others] = index.manifests
  if (image === undefined || others.length > 0) throw new Error(`${indexFile} does not have one image`)
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    artifactType: SBOM_TYPE,
    config: put(layout, EMPTY_TYPE, '{}'),
    layers: [put(layout, SBOM_TYPE, sbom)],
    subject: { mediaType: image.mediaType, digest: image.digest, size: image.size },
    annotations: { 'org.opencontainers.image.created': createdAt.toISOString() },
  })
  const artifact = { ...put(layout, MANIFEST_TYPE, manifest), artifactType: SBOM_TYPE }
  writeFileSync(indexFile, JSON.stringify({ ...index, manifests: [image, artifact] }))
  return image.digest
}

function put(layout: string, mediaType: string, content: string): Descriptor {
  const hex = createHash('sha256').update(content).digest('hex')
  writeFileSync(join(layout, 'blobs/sha256', hex), content)
  return { mediaType, digest: `sha256:${hex}`, size: Buffer.byteLength(content) }
}
