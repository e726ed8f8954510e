import { dirname } from 'node:path'
import type { TestContext } from 'node:test'
import {
  type Algorithm,
  digestOf,
  dockerImageDocument,
  imageDocument,
  indexDocument,
  mediaTypes,
  randomBlob,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'

const FOREIGN_LAYER = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'

/** What a test needs to know of the content that was pushed. */
export interface VariedStore {
  readonly name: string
  readonly image: string
  readonly config: string
  readonly layer: string
  /** As long as the layer. */
  readonly otherLayer: string
  readonly largeLayer: string
  readonly sha512Image: string
  readonly index: string
  readonly nestedIndex: string
  readonly referrer: string
  /** It rests in the trash. */
  readonly deletedImage: string
  /** The id of an upload that is open. */
  readonly upload: string
}

/** Pushes one of everything that a registry may rightly have, and deletes some of it. */
export async function pushVariedStore(client: RegistryClient, name: string): Promise<VariedStore> {
  const config = await client.pushBlob(name)
  const layer = await client.pushBlob(name, randomBlob(5_000))
  const otherLayer = await client.pushBlob(name, randomBlob(5_000))
  const largeLayer = await client.pushBlob(name, randomBlob(2_000_000))
  const document = imageDocument(config, [layer, otherLayer, largeLayer])
  const image = await client.pushManifest(name, document, mediaTypes.image, { reference: 'v1' })
  await client.putManifest(name, 'latest', document, mediaTypes.image)
  const sha512Image = await pushSha512(client, name)
  const index = await client.pushManifest(
    name,
    indexDocument([image, (await client.pushImage(name)).descriptor]),
    mediaTypes.index,
    { reference: 'multi' },
  )
  const nestedIndex = await client.pushManifest(name, indexDocument([index, config]), mediaTypes.index, {
    reference: 'nested',
  })
  const referrer = await client.pushImage(name, {}, { subject: image, annotations: { who: 'signer', ünïcode: '✓' } })
  // A subject may be missing, and foreign layers may be elsewhere.
  const missing = { mediaType: mediaTypes.image, digest: unknownDigest(), size: 7 }
  await client.pushImage(name, {}, { subject: missing, artifactType: 'application/x.sbom' })
  const foreign = { ...typed({ ...missing, size: 9 }, FOREIGN_LAYER), urls: ['https://example.org/layer'] }
  await client.pushManifest(name, imageDocument(config, [foreign]), mediaTypes.image, { reference: 'windows' })
  await client.pushManifest(name, dockerImageDocument(config, [layer]), mediaTypes.dockerImage, { reference: 'docker' })
  await client.pushManifest(name, imageDocument(await client.pushBlob(name, Buffer.alloc(0)), []), mediaTypes.image, {
    reference: 'empty',
  })
  await client.post(`/v2/${name}/mounted/blobs/uploads/?mount=${layer.digest}&from=${name}`)
  const deleted = await client.pushImage(`${name}/deleted`, { reference: 'gone' })
  await client.delete(`/v2/${name}/deleted/manifests/${deleted.descriptor.digest}`)
  await client.delete(`/v2/${name}/manifests/docker`)
  const url = client.location(await client.patchChunk(await client.startUpload(name), randomBlob(1_000)))
  return {
    name,
    image: image.digest,
    config: config.digest,
    layer: layer.digest,
    otherLayer: otherLayer.digest,
    largeLayer: largeLayer.digest,
    sha512Image,
    index: index.digest,
    nestedIndex: nestedIndex.digest,
    referrer: referrer.descriptor.digest,
    deletedImage: deleted.descriptor.digest,
    upload: new URL(url).pathname.split('/').at(-1) ?? '',
  }
}

async function pushSha512(client: RegistryClient, name: string): Promise<string> {
  const algorithm: Algorithm = 'sha512'
  const { bytes } = await client.pushImage(name, { algorithm })
  return digestOf(bytes, algorithm)
}

/** A data folder `data` with one of everything; no server works in it unless the last step starts one. */
export async function makeStore(
  t: TestContext,
  last: (registry: TestRegistry) => Promise<void> = async () => {},
): Promise<{ folder: string; store: VariedStore }> {
  const registry = await startRegistry(t)
  const store = await pushVariedStore(new RegistryClient(registry.url), uniqueName('faults'))
  await registry.stop()
  await last(registry)
  return { folder: dirname(registry.dataDirectory), store }
}
