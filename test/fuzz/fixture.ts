import { digestOf, imageDocument, indexDocument, mediaTypes } from '../content.ts'
import type { RegistryClient } from '../registry-client.ts'
import type { FuzzClient } from './fuzz-client.ts'
import type { Ledger } from './ledger.ts'
import type { Random } from '../random.ts'

/** A blob of the fixture and its bytes. */
export interface FixtureBlob {
  readonly digest: string
  readonly bytes: Buffer
}

/** What is there before the first generated request; no case changes it. */
export interface Fixture {
  readonly repository: string
  /** Of 300, 0, 1 and 70,000 bytes. */
  readonly blobs: readonly [FixtureBlob, FixtureBlob, FixtureBlob, FixtureBlob]
  readonly image: { readonly digest: string; readonly bytes: Buffer }
  readonly index: { readonly digest: string; readonly bytes: Buffer }
  /** The tags of the repository, in the order of their bytes; all of them stand for the image. */
  readonly tags: readonly string[]
  /** Attached to the image, in the order of their digests. */
  readonly referrers: readonly { readonly digest: string; readonly artifactType: string }[]
  /** A repository with the same blobs and image, that cases push manifests to. */
  readonly pushRepository: string
}

/** One generated conversation, with all that it needs. */
export interface FuzzCase {
  readonly number: number
  readonly random: Random
  readonly client: FuzzClient
  readonly ledger: Ledger
  readonly fixture: Fixture
}

/** Pushes the fixture. */
export async function pushFixture(registry: RegistryClient, random: Random, ledger: Ledger): Promise<Fixture> {
  const [repository, pushRepository] = ['fuzz/fixture', 'fuzz/pushes'] as const
  const blob = (length: number): FixtureBlob => {
    const bytes = random.bytes(length)
    return { digest: digestOf(bytes), bytes }
  }
  const blobs = [blob(300), blob(0), blob(1), blob(70_000)] as const
  const descriptors = blobs.map(({ digest, bytes }) => ({
    mediaType: mediaTypes.octetStream,
    digest,
    size: bytes.length,
  }))
  const [config = { mediaType: '', digest: '', size: 0 }, ...layers] = descriptors
  const image = imageDocument(config, layers)
  const index = indexDocument([{ mediaType: mediaTypes.image, digest: digestOf(image), size: image.length }])
  const tags = ['1.0.0', '1.0.10', 'Latest', '_private', 'edge-2', 'edge.2', 'latest'] as const
  for (const name of [repository, pushRepository]) {
    for (const { bytes, digest } of blobs) {
      await registry.pushBlob(name, bytes)
      ledger.acknowledge({ repository: name, kind: 'blobs', digest, bytes })
    }
    for (const [bytes, mediaType] of [
      [image, mediaTypes.image],
      [index, mediaTypes.index],
    ] as const) {
      await registry.pushManifest(name, bytes, mediaType)
      ledger.acknowledge({ repository: name, kind: 'manifests', digest: digestOf(bytes), bytes, mediaType })
    }
  }
  for (const reference of tags) await registry.pushManifest(repository, image, mediaTypes.image, { reference })
  const subject = { mediaType: mediaTypes.image, digest: digestOf(image), size: image.length }
  const referrers = ['a/x', 'a/x', 'a/y+json', 'b/\u00e9 &=%'].map((artifactType, index) => {
    const bytes = indexDocument([], { artifactType, subject, annotations: { index: String(index) } })
    return { artifactType, bytes, digest: digestOf(bytes) }
  })
  for (const { bytes, digest } of referrers) {
    await registry.pushManifest(repository, bytes, mediaTypes.index)
    ledger.acknowledge({ repository, kind: 'manifests', digest, bytes, mediaType: mediaTypes.index })
  }
  return {
    repository,
    referrers: referrers.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
    pushRepository,
    blobs,
    image: { digest: digestOf(image), bytes: image },
    index: { digest: digestOf(index), bytes: index },
    tags,
  }
}
