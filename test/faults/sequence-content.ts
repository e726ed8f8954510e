import { type Descriptor, digestOf, imageDocument, indexDocument, mediaTypes } from '../content.ts'
import { Random } from '../random.ts'

/** A blob that sequences push. */
export interface SequenceBlob {
  readonly bytes: Buffer
  readonly digest: string
}

/** A manifest that sequences push, and what must be there before. */
export interface SequenceManifest extends SequenceBlob {
  readonly mediaType: string
  readonly blobs: readonly string[]
  readonly manifests: readonly string[]
  readonly subject: string | undefined
  readonly artifactType: string
}

export const TAGS = ['latest', 'V1', 'v1', '_0'] as const
export const ARTIFACT_TYPES = ['application/vnd.example.signature', 'application/vnd.example.bill'] as const

const random = new Random('the content of sequences')

/** The same in every run and repository, so that what one removes is what another pushes at that moment. */
export const BLOBS: readonly SequenceBlob[] = [17, 300, 4_096, 70_000].map((size) => {
  const bytes = random.bytes(size)
  return { bytes, digest: digestOf(bytes) }
})

const [first, second, third] = [image([0, 1]), image([0, 1, 2]), image([3, 2])]
const signature = image([0, 1], { subject: first, artifactType: 0 })
const index = indexOver([first, second])

export const MANIFESTS: readonly SequenceManifest[] = [
  first,
  second,
  third,
  signature,
  image([0, 2], { subject: first, artifactType: 1 }),
  image([0, 3], { subject: first, artifactType: 0 }),
  image([1], { subject: first, artifactType: 1 }),
  image([2], { subject: signature, artifactType: 0 }),
  image([3], { subject: index, artifactType: 1 }),
  index,
  indexOver([second, signature]),
  indexOver([index, third]),
]

function image(
  numbers: readonly number[],
  attached?: { subject: SequenceManifest; artifactType: number },
): SequenceManifest {
  const blobs = numbers.flatMap((number) => BLOBS[number] ?? [])
  const [config, ...layers] = blobs.map(({ bytes, digest }) => ({
    mediaType: mediaTypes.octetStream,
    digest,
    size: bytes.length,
  }))
  if (config === undefined) throw new Error('an image has a config')
  const artifactType = attached && ARTIFACT_TYPES[attached.artifactType]
  const bytes = imageDocument(config, layers, attached && { subject: describe(attached.subject), artifactType })
  return {
    bytes,
    digest: digestOf(bytes),
    mediaType: mediaTypes.image,
    blobs: blobs.map((blob) => blob.digest),
    manifests: [],
    subject: attached?.subject.digest,
    artifactType: artifactType ?? mediaTypes.config,
  }
}

function indexOver(children: readonly SequenceManifest[]): SequenceManifest {
  const bytes = indexDocument(children.map(describe))
  return {
    bytes,
    digest: digestOf(bytes),
    mediaType: mediaTypes.index,
    blobs: [],
    manifests: children.map((child) => child.digest),
    subject: undefined,
    artifactType: '',
  }
}

function describe({ mediaType, digest, bytes }: SequenceManifest): Descriptor {
  return { mediaType, digest, size: bytes.length }
}
