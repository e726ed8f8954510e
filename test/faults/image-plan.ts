import { type Descriptor, digestOf, imageDocument, indexDocument, mediaTypes, randomBlob } from '../content.ts'
import type { Random } from '../random.ts'

const SMALLEST_BLOB_BYTES = 64 * 1024
const LARGEST_BLOB_BYTES = 4 * 1024 * 1024
const MOST_BUILDS = 16

/** How a blob is sent: POST and PUT, one POST, three ranged PATCHes, or one PATCH without a length. */
const WAYS = ['monolithic', 'single POST', 'chunks', 'streamed'] as const

export interface PlannedBlob {
  readonly kind: 'blob'
  readonly bytes: Buffer
  readonly digest: string
  readonly way: (typeof WAYS)[number]
}

export interface PlannedManifest {
  readonly kind: 'manifest'
  readonly bytes: Buffer
  readonly digest: string
  readonly mediaType: string
  /** All of them are put by one request. */
  readonly tags: readonly string[]
  readonly subject: string | undefined
}

export interface PlannedDeletion {
  readonly kind: 'deletion'
  readonly digest: string
}

/** One thing that a client does; what it needs comes before it. */
export type Step = PlannedBlob | PlannedManifest | PlannedDeletion

/**
 * Two images with a layer in common, an index over them, an artifact attached to the index, and builds of the image
 * that differ in little, so that tags move often.
 * @param number tells the tags of one plan from those of the next; the tag `latest` moves from plan to plan.
 * @param earlierArtifact the digest of an artifact to delete, if there is one.
 */
export function planImages(random: Random, number: number, earlierArtifact: string | undefined): Step[] {
  const shared = planBlob(random)
  const images = ['one', 'two'].map((name) => {
    const [config, layer] = [planBlob(random, SMALLEST_BLOB_BYTES), planBlob(random)]
    const bytes = imageDocument(describe(config), [describe(shared), describe(layer)])
    const tags = [`${name}-${number}`, `also-${name}-${number}`].slice(0, random.between(0, 2))
    return { blobs: [config, layer], manifest: planManifest(bytes, mediaTypes.image, tags) }
  })
  const index = planManifest(
    indexDocument(images.map(({ manifest }) => describe(manifest))),
    mediaTypes.index,
    [`index-${number}`, 'latest', `stable-${number}`].slice(0, random.between(1, 3)),
  )
  const signature = planBlob(random, SMALLEST_BLOB_BYTES)
  const artifactBytes = imageDocument(describe(signature), [describe(signature)], {
    artifactType: 'application/vnd.example.signature',
    subject: describe(index),
  })
  const artifact = planManifest(artifactBytes, mediaTypes.image, [], index.digest)
  const builds = Array.from({ length: random.between(0, MOST_BUILDS) }, (_, build) => {
    const annotations = { build: `${number}.${build}` }
    const bytes = imageDocument(describe(signature), [describe(shared)], { annotations })
    return planManifest(bytes, mediaTypes.image, [`build-${number}.${build}`, 'latest', 'edge'])
  })
  return [
    shared,
    ...images.flatMap(({ blobs, manifest }) => [...blobs, manifest]),
    index,
    signature,
    artifact,
    ...builds,
    ...(earlierArtifact === undefined ? [] : [{ kind: 'deletion' as const, digest: earlierArtifact }]),
  ]
}

function planBlob(random: Random, largestBytes: number = LARGEST_BLOB_BYTES): PlannedBlob {
  const bytes = randomBlob(random.size(SMALLEST_BLOB_BYTES, largestBytes))
  return { kind: 'blob', bytes, digest: digestOf(bytes), way: random.pick(WAYS) }
}

function planManifest(bytes: Buffer, mediaType: string, tags: readonly string[], subject?: string): PlannedManifest {
  return { kind: 'manifest', bytes, digest: digestOf(bytes), mediaType, tags, subject }
}

function describe(content: PlannedBlob | PlannedManifest): Descriptor {
  return {
    mediaType: content.kind === 'blob' ? mediaTypes.octetStream : content.mediaType,
    digest: content.digest,
    size: content.bytes.length,
  }
}
