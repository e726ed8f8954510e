import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALGORITHMS,
  type Descriptor,
  digestOf,
  dockerImageDocument,
  dockerListDocument,
  imageDocument,
  indexDocument,
  mediaTypes,
  randomBlob,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertRefused,
  describe,
  record,
  startClient,
} from '../registry-client.ts'

const EMPTY = Buffer.from('{}')
const ARTIFACT = 'application/vnd.example.sbom.v1'
const FOREIGN_LAYERS = [
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
]

test('pushing manifests', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  void t.test(
    'spec "Pushing Manifests": a push by tag gives 201, the digest and a location that gives it',
    async () => {
      const [name, bytes] = await imageBytes(client)
      await assertStored(client, await client.putManifest(name, 'v1', bytes, mediaTypes.image), bytes)
    },
  )

  for (const algorithm of ALGORITHMS) {
    void t.test(`spec "Pushing Manifests": a push by digest gives 201 and the same digest (${algorithm})`, async () => {
      const [name, bytes] = await imageBytes(client)
      const digest = digestOf(bytes, algorithm)
      await assertStored(client, await client.putManifest(name, digest, bytes, mediaTypes.image), bytes, { digest })
    })

    void t.test(
      `spec "Pushing Manifests": an image of blobs and an index of images by their digests (${algorithm})`,
      async () => {
        const name = uniqueName()
        const { descriptor } = await client.pushImage(name, { algorithm })
        const bytes = indexDocument([descriptor])
        const [digest, mediaType] = [digestOf(bytes, algorithm), mediaTypes.index]
        await assertStored(client, await client.putManifest(name, digest, bytes, mediaType), bytes, {
          digest,
          mediaType,
        })
      },
    )
  }

  void t.test('spec "Pushing Manifests": the same manifest may be stored under both algorithms', async () => {
    const [name, bytes] = await imageBytes(client)
    for (const algorithm of ALGORITHMS) {
      await client.pushManifest(name, bytes, mediaTypes.image, { algorithm })
    }
    for (const algorithm of ALGORITHMS) {
      const digest = digestOf(bytes, algorithm)
      assertContent(await client.get(`/v2/${name}/manifests/${digest}`), { bytes, digest, mediaType: mediaTypes.image })
    }
  })

  void t.test(
    'spec "Pushing Manifests": a tag that is pushed again points to the new manifest, the old one stays',
    async () => {
      const name = uniqueName()
      const first = await client.pushImage(name, { reference: 'v1' })
      const second = await client.pushImage(name, { reference: 'v1' })
      assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes: second.bytes, ...second.descriptor })
      const old = await client.get(`/v2/${name}/manifests/${first.descriptor.digest}`)
      assertContent(old, { bytes: first.bytes, ...first.descriptor })
    },
  )

  void t.test('spec "Pushing Manifests": a push that is repeated succeeds again', async () => {
    const [name, bytes] = await imageBytes(client)
    for (const reference of ['v1', 'v1', digestOf(bytes), digestOf(bytes), 'v2']) {
      await assertStored(client, await client.putManifest(name, reference, bytes, mediaTypes.image), bytes)
    }
    assert.deepEqual((await client.get(`/v2/${name}/tags/list`)).json(), { name, tags: ['v1', 'v2'] })
  })

  void t.test('spec "Pulling manifests": every tag that the expression allows can be pushed and pulled', async () => {
    const [name, bytes] = await imageBytes(client)
    const tags = ['a', 'A', '0', '_', '_a', 'a.b-c_D', 'a.', 'a-', 'v1..2', 'list', 'latest', 't'.repeat(128)]
    for (const tag of [...tags, `sha256-${'a'.repeat(64)}`, `sha256-${'a'.repeat(64)}.sig`, 'sha512']) {
      await assertStored(client, await client.putManifest(name, tag, bytes, mediaTypes.image), bytes)
      assert.equal((await client.head(`/v2/${name}/manifests/${tag}`)).status, 200, tag)
    }
  })

  for (const [what, rewrite] of Object.entries({
    'white space': (text: string) => `\n\t ${JSON.stringify(JSON.parse(text), null, '\t')}\r\n  `,
    'the order of keys': (text: string) =>
      JSON.stringify(Object.fromEntries(Object.entries(record(JSON.parse(text))).toReversed())),
    'escapes and other scripts': (text: string) =>
      text.replace(
        '"schemaVersion"',
        String.raw`"annotations":{"\u006f\/\ud83d\ude00":"集装箱 Größe 🚢 \u0000é é"},"schemaVersion"`,
      ),
    'the notation of numbers': (text: string) => text.replace('{', '{"x-number":[1.50e+2,-0,12345678901234567890],'),
    'unknown fields': (text: string) => text.replace('{', '{"x-custom":{"a":[1,null,true,{}]},'),
  })) {
    void t.test(`spec "Pushing Manifests": the bytes are kept exactly: ${what}`, async () => {
      const [name, image] = await imageBytes(client)
      const bytes = Buffer.from(rewrite(image.toString()))
      assert.ok(!bytes.equals(image))
      const child = await assertStored(client, await client.putManifest(name, 'v1', bytes, mediaTypes.image), bytes)
      const index = Buffer.from(rewrite(indexDocument([child]).toString()))
      const answer = await client.putManifest(name, 'v2', index, mediaTypes.index)
      await assertStored(client, answer, index, { mediaType: mediaTypes.index })
    })
  }

  void t.test('spec "Pushing Manifests": parameters of the pushed Content-Type are ignored', async () => {
    const [name, bytes] = await imageBytes(client)
    for (const parameters of ['; charset=utf-8', ';charset=UTF-8', '; version="1;2"']) {
      const answer = await client.putManifest(name, 'v1', bytes, `${mediaTypes.image}${parameters}`)
      await assertStored(client, answer, bytes)
    }
  })

  void t.test(
    'spec "Pushing Manifests": a manifest without a mediaType field is what its Content-Type says',
    async () => {
      const name = uniqueName()
      const [config, layer] = [await client.pushBlob(name), await client.pushBlob(name)]
      const bytes = imageDocument(config, [layer], { mediaType: undefined })
      const child = await assertStored(client, await client.putManifest(name, 'v1', bytes, mediaTypes.image), bytes)
      const index = indexDocument([child], { mediaType: undefined })
      const answer = await client.putManifest(name, 'v2', index, mediaTypes.index)
      await assertStored(client, answer, index, { mediaType: mediaTypes.index })
    },
  )

  void t.test('spec "Pushing Manifests": the list of blobs may be empty', async () => {
    const name = uniqueName()
    const image = imageDocument(await client.pushBlob(name), [])
    await assertStored(client, await client.putManifest(name, 'image', image, mediaTypes.image), image)
    const index = indexDocument([])
    const answer = await client.putManifest(name, 'index', index, mediaTypes.index)
    await assertStored(client, answer, index, { mediaType: mediaTypes.index })
  })

  void t.test('spec "Definitions": an index may list indexes', async () => {
    const name = uniqueName()
    const image = await client.pushImage(name)
    const inner = await client.pushManifest(name, indexDocument([image.descriptor]), mediaTypes.index)
    const outer = indexDocument([inner, image.descriptor])
    const answer = await client.putManifest(name, 'v1', outer, mediaTypes.index)
    await assertStored(client, answer, outer, { mediaType: mediaTypes.index })
  })

  void t.test('spec "Definitions": an index may list blobs, as the BuildKit cache does', async () => {
    const name = uniqueName()
    const [layer, config] = [await client.pushBlob(name), await client.pushBlob(name)]
    const cacheConfig = typed(config, 'application/vnd.buildkit.cacheconfig.v0')
    const bytes = indexDocument([typed(layer, mediaTypes.layer), cacheConfig])
    const answer = await client.putManifest(name, 'cache', bytes, mediaTypes.index)
    await assertStored(client, answer, bytes, { mediaType: mediaTypes.index })
  })

  void t.test('spec "Definitions": an artifact is an image manifest of a type of its own', async () => {
    const name = uniqueName()
    const empty = typed(await client.pushBlob(name, EMPTY), mediaTypes.empty)
    const content = typed(await client.pushBlob(name), ARTIFACT)
    for (const layers of [[content], [empty]]) {
      const bytes = imageDocument(empty, layers, { artifactType: ARTIFACT })
      const child = await assertStored(client, await client.putManifest(name, 'v1', bytes, mediaTypes.image), bytes)
      const index = indexDocument([{ ...child, artifactType: ARTIFACT }], { artifactType: ARTIFACT })
      const answer = await client.putManifest(name, 'v2', index, mediaTypes.index)
      await assertStored(client, answer, index, { mediaType: mediaTypes.index })
    }
  })

  void t.test('spec "Definitions": a config of any type is accepted', async () => {
    const name = uniqueName()
    const config = typed(await client.pushBlob(name), 'application/vnd.cncf.helm.config.v1+json')
    const layer = typed(await client.pushBlob(name), 'application/vnd.cncf.helm.chart.content.v1.tar+gzip')
    const bytes = imageDocument(config, [layer])
    await assertStored(client, await client.putManifest(name, '0.1.0', bytes, mediaTypes.image), bytes)
  })

  void t.test('image-spec "Descriptor": content embedded as data is accepted and kept', async () => {
    const name = uniqueName()
    const [config, layer] = [randomBlob(64), randomBlob(64)]
    const embedded = async (bytes: Buffer): Promise<Descriptor> => ({
      ...(await client.pushBlob(name, bytes)),
      data: bytes.toString('base64'),
    })
    const bytes = imageDocument(await embedded(config), [await embedded(layer)])
    const child = await assertStored(client, await client.putManifest(name, 'v1', bytes, mediaTypes.image), bytes)
    const index = indexDocument([{ ...child, data: bytes.toString('base64') }])
    const answer = await client.putManifest(name, 'v2', index, mediaTypes.index)
    await assertStored(client, answer, index, { mediaType: mediaTypes.index })
  })

  void t.test('image-spec "Layers": foreign layers need not be in the registry', async () => {
    const name = uniqueName()
    const foreign = FOREIGN_LAYERS.map((mediaType) => ({
      mediaType,
      digest: unknownDigest(),
      size: 123_456,
      urls: ['https://layers.example.com/layer'],
    }))
    const bytes = imageDocument(await client.pushBlob(name), [...foreign, await client.pushBlob(name)])
    const answer = await client.putManifest(name, 'v1', bytes, mediaTypes.image)
    await assertStored(client, answer, bytes)
    assert.match(answer.header('warning') ?? '', /^299 - "4 of the layers .*"$/)
  })

  void t.test('Docker: schema 2 images and manifest lists are stored as they are', async () => {
    const name = uniqueName()
    const image = dockerImageDocument(await client.pushBlob(name), [await client.pushBlob(name)])
    const stored = await client.putManifest(name, 'image', image, mediaTypes.dockerImage)
    const child = await assertStored(client, stored, image, { mediaType: mediaTypes.dockerImage })
    const list = dockerListDocument([{ ...child, platform: { os: 'linux', architecture: 'arm64' } }])
    const answer = await client.putManifest(name, 'list', list, mediaTypes.dockerList)
    await assertStored(client, answer, list, { mediaType: mediaTypes.dockerList })
  })

  void t.test('spec "Pushing Manifests": a manifest of 4 MiB is accepted', async () => {
    const name = uniqueName()
    const config = await client.pushBlob(name)
    for (const size of [4_000_000, 4 * 1024 * 1024]) {
      const padding = size - imageDocument(config, [], { annotations: { padding: '' } }).length
      const bytes = imageDocument(config, [], { annotations: { padding: 'x'.repeat(padding) } })
      assert.equal(bytes.length, size)
      await assertStored(client, await client.putManifest(name, 'large', bytes, mediaTypes.image), bytes)
    }
  })

  void t.test('spec "Pushing Manifests": a manifest over the limit is refused with 413 and not kept', async () => {
    const name = uniqueName()
    const config = await client.pushBlob(name)
    const bytes = imageDocument(config, [], { annotations: { padding: 'x'.repeat(20_000_000) } })
    assertRefused(await client.putManifest(name, 'large', bytes, mediaTypes.image), 413)
    const headers = { 'Content-Type': mediaTypes.image }
    const streamed = await client.request('PUT', `/v2/${name}/manifests/large`, {
      headers,
      body: bytes,
      streamed: true,
    })
    assertRefused(streamed, 413)
    assertRefused(await client.head(`/v2/${name}/manifests/large`), 404)
    assertRefused(await client.head(`/v2/${name}/manifests/${digestOf(bytes)}`), 404)
  })

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Pushing Manifests with Subject": the subject is confirmed by OCI-Subject (${algorithm})`,
      async () => {
        const name = uniqueName()
        const subject = (await client.pushImage(name, { algorithm })).descriptor
        const image = imageDocument(await client.pushBlob(name), [], { subject })
        const index = indexDocument([], { subject, artifactType: ARTIFACT })
        for (const reference of ['v1', digestOf(image, algorithm)]) {
          const answer = await client.putManifest(name, reference, image, mediaTypes.image)
          assert.equal(answer.status, 201, describe(answer))
          assert.equal(answer.header('oci-subject'), subject.digest)
        }
        const answer = await client.putManifest(name, digestOf(index, algorithm), index, mediaTypes.index)
        assert.equal(answer.status, 201, describe(answer))
        assert.equal(answer.header('oci-subject'), subject.digest)
      },
    )

    void t.test(`spec "Push": a subject need not exist yet, nor ever (${algorithm})`, async () => {
      const [name, subjectBytes] = await imageBytes(client)
      const digest = digestOf(subjectBytes, algorithm)
      const subject = { mediaType: mediaTypes.image, digest, size: subjectBytes.length }
      const image = imageDocument(await client.pushBlob(name), [], { subject })
      const answer = await client.putManifest(name, 'v1', image, mediaTypes.image)
      await assertStored(client, answer, image)
      assert.equal(answer.header('oci-subject'), digest)
      await client.pushManifest(name, subjectBytes, mediaTypes.image, { algorithm })
    })
  }

  void t.test('spec "Pushing Manifests with Subject": without a subject there is no OCI-Subject', async () => {
    const [name, bytes] = await imageBytes(client)
    assert.equal((await client.putManifest(name, 'v1', bytes, mediaTypes.image)).header('oci-subject'), undefined)
  })
})

test('spec "Push": an index may list images that are not there where validation.manifests.indexes says so', async (t) => {
  const validation = { manifests: { indexes: { platforms: 'none' } } }
  const client = await startClient(t, { config: { validation } })
  const name = uniqueName()
  const { descriptor } = await client.pushImage(name)
  const absent = { mediaType: mediaTypes.image, digest: unknownDigest(), size: 1024 }
  const bytes = indexDocument([descriptor, absent])
  const answer = await client.putManifest(name, 'sparse', bytes, mediaTypes.index)
  await assertStored(client, answer, bytes, { mediaType: mediaTypes.index })
  assert.match(answer.header('warning') ?? '', /^299 - "1 of the manifests .*"$/)
})

async function imageBytes(client: RegistryClient): Promise<[name: string, bytes: Buffer]> {
  const name = uniqueName()
  return [name, imageDocument(await client.pushBlob(name), [await client.pushBlob(name)])]
}

/** Asserts that a manifest was created and comes back unchanged from its location; gives its descriptor. */
async function assertStored(
  client: RegistryClient,
  answer: Answer,
  bytes: Buffer,
  expected: { digest?: string; mediaType?: string } = {},
): Promise<Descriptor> {
  const { digest = digestOf(bytes), mediaType = mediaTypes.image } = expected
  assert.equal(answer.status, 201, describe(answer))
  assert.equal(answer.header('docker-content-digest'), digest)
  assertContent(await client.get(client.location(answer)), { bytes, digest, mediaType })
  assertContent(await client.get(`/v2/${new URL(answer.url).pathname.slice(4)}`), { bytes, digest, mediaType })
  return { mediaType, digest, size: bytes.length }
}
