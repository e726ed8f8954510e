import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALGORITHMS,
  digestOf,
  dockerImageDocument,
  dockerListDocument,
  imageDocument,
  indexDocument,
  json,
  mediaTypes,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import { type RegistryClient, assertRefused, errorCodes, record, startClient } from '../registry-client.ts'

test('refusing manifests', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    const absent = { mediaType: mediaTypes.layer, digest: unknownDigest(algorithm), size: 10 }

    void t.test(
      `spec "Push": an image with an unknown layer or config is refused by name of the blob (${algorithm})`,
      async () => {
        const name = uniqueName()
        const blob = await client.pushBlob(name)
        const config = typed(blob, mediaTypes.config)
        for (const bytes of [
          imageDocument(config, [blob, absent]),
          imageDocument(typed(absent, mediaTypes.config), [blob]),
        ]) {
          await refuse(client, { name, bytes }, [404, 400], 'MANIFEST_BLOB_UNKNOWN')
        }
        const docker = dockerImageDocument(blob, [absent])
        await refuse(
          client,
          { name, bytes: docker, mediaType: mediaTypes.dockerImage },
          [404, 400],
          'MANIFEST_BLOB_UNKNOWN',
        )
      },
    )

    void t.test(
      `spec "Push": an index of an unknown manifest is refused by name of the manifest (${algorithm})`,
      async () => {
        const name = uniqueName()
        const { descriptor } = await client.pushImage(name)
        const unknown = typed(absent, mediaTypes.image)
        const [index, list] = [mediaTypes.index, mediaTypes.dockerList]
        const codes = 'MANIFEST_BLOB_UNKNOWN'
        await refuse(client, { name, bytes: indexDocument([descriptor, unknown]), mediaType: index }, [404, 400], codes)
        await refuse(client, { name, bytes: dockerListDocument([unknown]), mediaType: list }, [404, 400], codes)
      },
    )

    void t.test(
      `spec "Error Codes": a manifest that is not what its digest says is refused (${algorithm})`,
      async () => {
        const { name, bytes } = await image(client)
        const reference = digestOf(bytes, algorithm)
        const altered = Buffer.concat([bytes, Buffer.from('  ')])
        const answer = await client.putManifest(name, reference, altered, mediaTypes.image)
        assertRefused(answer, 400, 'DIGEST_INVALID')
        assertRefused(await client.head(`/v2/${name}/manifests/${reference}`), 404)
        assertRefused(await client.head(`/v2/${name}/manifests/${digestOf(altered, algorithm)}`), 404)
      },
    )
  }

  void t.test('spec "Push": a blob or manifest of another repository is unknown here', async () => {
    const [name, other] = [uniqueName(), uniqueName()]
    const foreign = await client.pushImage(other)
    const config = await client.pushBlob(name)
    const bytes = imageDocument(config, [await client.pushBlob(other)])
    await refuse(client, { name, bytes }, [404, 400], 'MANIFEST_BLOB_UNKNOWN')
    const index = indexDocument([foreign.descriptor])
    await refuse(client, { name, bytes: index, mediaType: mediaTypes.index }, [404, 400], 'MANIFEST_BLOB_UNKNOWN')
  })

  void t.test('spec "Push": each unknown blob of a manifest is told', async () => {
    const name = uniqueName()
    const layers = [1, 2, 3].map((size) => ({ mediaType: mediaTypes.layer, digest: unknownDigest(), size }))
    const bytes = imageDocument(await client.pushBlob(name), layers)
    const answer = await client.putManifest(name, 'v1', bytes, mediaTypes.image)
    assertRefused(answer, [404, 400], 'MANIFEST_BLOB_UNKNOWN')
    for (const { digest } of layers) assert.ok(answer.body.includes(digest), `${digest} is not named`)
  })

  void t.test('spec "Error Codes": what is no JSON object is refused with MANIFEST_INVALID', async () => {
    const { name, bytes } = await image(client)
    const text = bytes.toString()
    for (const body of [
      '',
      ' ',
      '{',
      'null',
      '[]',
      '"text"',
      '42',
      `${text}x`,
      text.slice(0, -1),
      `\uFEFF${text}`,
      '\xff\xfe',
    ]) {
      await refuse(client, { name, bytes: Buffer.from(body) }, 400, 'MANIFEST_INVALID')
    }
    const notUtf8 = Buffer.concat([Buffer.from('{"annotations":{"a":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"},')])
    await refuse(client, { name, bytes: Buffer.concat([notUtf8, bytes.subarray(1)]) }, 400, 'MANIFEST_INVALID')
  })

  void t.test('spec "Error Codes": a manifest of the wrong shape is refused with MANIFEST_INVALID', async () => {
    const { name, bytes } = await image(client)
    const good = record(JSON.parse(bytes.toString()))
    const config = record(good['config'])
    for (const fields of [
      { schemaVersion: 1 },
      { schemaVersion: '2' },
      { schemaVersion: undefined },
      { config: undefined },
      { config: 'sha256' },
      { config: { ...config, digest: 'latest' } },
      { config: { ...config, digest: undefined } },
      { config: { ...config, size: -1 } },
      { config: { ...config, size: '10' } },
      { config: { ...config, mediaType: undefined } },
      { layers: {} },
      { layers: [null] },
      { layers: [{ ...config, digest: 'sha256:../../../etc/passwd' }] },
      { annotations: { number: 1 } },
      { annotations: 'text' },
      { subject: 'sha256' },
      { subject: { mediaType: mediaTypes.image, digest: 'sha256:short', size: 1 } },
      { artifactType: 7 },
    ]) {
      await refuse(client, { name, bytes: json({ ...good, ...fields }) }, 400, 'MANIFEST_INVALID')
    }
    for (const manifests of [undefined, {}, [null], [{ mediaType: mediaTypes.image, size: 1 }]]) {
      const index = json({ schemaVersion: 2, mediaType: mediaTypes.index, manifests })
      await refuse(client, { name, bytes: index, mediaType: mediaTypes.index }, 400, 'MANIFEST_INVALID')
    }
  })

  void t.test('image-spec "Descriptor": a size that is not the size of the content is refused', async () => {
    const { name, bytes } = await image(client)
    const { config, layers } = record(JSON.parse(bytes.toString()))
    assert.ok(Array.isArray(layers))
    const layer = record(layers[0])
    const wrong = json({ schemaVersion: 2, mediaType: mediaTypes.image, config, layers: [{ ...layer, size: 1 }] })
    await refuse(client, { name, bytes: wrong }, 400, ['MANIFEST_INVALID', 'SIZE_INVALID', 'MANIFEST_BLOB_UNKNOWN'])
  })

  void t.test('image-spec "Ambiguous documents": a manifest that is image and index at once is refused', async () => {
    const { name, bytes } = await image(client)
    const both = json({ ...record(JSON.parse(bytes.toString())), manifests: [] })
    await refuse(client, { name, bytes: both }, 400, 'MANIFEST_INVALID')
    const index = json({ ...record(JSON.parse(bytes.toString())), mediaType: mediaTypes.index, manifests: [] })
    await refuse(client, { name, bytes: index, mediaType: mediaTypes.index }, 400, 'MANIFEST_INVALID')
  })

  void t.test(
    'spec "Pushing Manifests": a Content-Type that is not the mediaType of the manifest is refused',
    async () => {
      const { name, bytes } = await image(client)
      for (const mediaType of [mediaTypes.index, mediaTypes.dockerImage, mediaTypes.dockerList]) {
        await refuse(client, { name, bytes, mediaType }, 400, 'MANIFEST_INVALID')
      }
      await refuse(client, { name, bytes: indexDocument([]), mediaType: mediaTypes.image }, 400, 'MANIFEST_INVALID')
    },
  )

  void t.test('spec "Pushing Manifests": a Content-Type that is no manifest is refused', async () => {
    const { name, bytes } = await image(client)
    for (const mediaType of ['text/html', 'application/octet-stream', mediaTypes.config, 'nonsense', ';']) {
      await refuse(client, { name, bytes, mediaType }, [400, 415], ['MANIFEST_INVALID', 'UNSUPPORTED'])
    }
  })

  void t.test(
    'spec "Pushing Manifests": without a Content-Type the mediaType field counts, or the push is refused',
    async () => {
      const { name, bytes } = await image(client)
      const answer = await client.request('PUT', `/v2/${name}/manifests/v1`, { body: bytes })
      if (answer.status === 201) {
        assert.equal((await client.head(`/v2/${name}/manifests/v1`)).header('content-type'), mediaTypes.image)
      } else assertRefused(answer, [400, 415], ['MANIFEST_INVALID', 'UNSUPPORTED'])
    },
  )

  void t.test('Docker: schema 1 is refused with a message that says why', async () => {
    const { name } = await image(client)
    const legacy = json({ schemaVersion: 1, name, tag: 'v1', architecture: 'amd64', fsLayers: [], history: [] })
    for (const suffix of ['v1+json', 'v1+prettyjws']) {
      const mediaType = `application/vnd.docker.distribution.manifest.${suffix}`
      const answer = await client.putManifest(name, 'v1', legacy, mediaType)
      assertRefused(answer, [400, 415], ['MANIFEST_INVALID', 'UNSUPPORTED'])
      assert.match(answer.body.toString(), /schema ?(version )?1/i)
      assertRefused(await client.head(`/v2/${name}/manifests/v1`), 404)
    }
  })

  void t.test(
    'spec "Pushing blobs": a manifest pushed by an invalid or unsupported digest is refused with 400',
    async () => {
      const { name, bytes } = await image(client)
      for (const reference of [
        'sha256:baddigeststring',
        `sha256:${'A'.repeat(64)}`,
        `sha256:${'a'.repeat(65)}`,
        `sha512:${'a'.repeat(64)}`,
        'md5:d41d8cd98f00b204e9800998ecf8427e',
        'a:b',
      ]) {
        assertRefused(await client.putManifest(name, reference, bytes, mediaTypes.image), 400)
      }
    },
  )

  void t.test('spec "Pulling manifests": a tag that the expression does not allow cannot be pushed', async () => {
    const name = uniqueName()
    const { bytes } = await client.pushImage(name, { reference: 'v1' })
    for (const tag of ['.v1', '-v1', 'v1+2', 'v%201', 'v%C3%A9', 'v1%0A', 'a%2Fb', 'v'.repeat(129)]) {
      assertRefused(await client.putManifest(name, tag, bytes, mediaTypes.image), [400, 404])
    }
    assert.deepEqual((await client.get(`/v2/${name}/tags/list`)).json(), { name, tags: ['v1'] })
  })

  void t.test('spec "Error Codes": a manifest pushed to an invalid name is refused with NAME_INVALID', async () => {
    const bytes = indexDocument([])
    for (const name of ['Upper', 'a..b', 'a/-b']) {
      assertRefused(await client.putManifest(name, 'v1', bytes, mediaTypes.index), [400, 404], 'NAME_INVALID')
    }
  })

  void t.test(
    'spec "Error Codes": a refusal is JSON, each of its errors has one of the codes and a message',
    async () => {
      const { name, bytes } = await image(client)
      const index = indexDocument([{ mediaType: mediaTypes.image, digest: unknownDigest(), size: 1 }])
      for (const answer of [
        await client.get(`/v2/${name}/manifests/absent`),
        await client.get(`/v2/${name}/blobs/${unknownDigest()}`),
        await client.get(`/v2/${uniqueName()}/tags/list`),
        await client.get(`/v2/${name}/referrers/latest`),
        await client.get(`/v2/${name}/tags/list?n=-1`),
        await client.putManifest(name, 'v1', index, mediaTypes.index),
        await client.putManifest(name, 'v1', '{', mediaTypes.image),
        await client.putManifest(name, digestOf(bytes), '{}', mediaTypes.image),
        await client.delete(`/v2/${name}/manifests/absent`),
        await client.delete(`/v2/${name}/blobs/${unknownDigest()}`),
        await client.post(`/v2/${name}/manifests/v1`),
        await client.post(`/v2/Upper/blobs/uploads/`),
        await client.get(`/v2/${name}/nonsense`),
      ]) {
        assert.ok(answer.status >= 400 && answer.status < 500, answer.url)
        assert.match(answer.header('content-type') ?? '', /^application\/json(;|$)/, answer.url)
        errorCodes(answer)
        assert.ok(record(JSON.parse(answer.body.toString()).errors[0])['message'], `no message: ${answer.url}`)
      }
    },
  )
})

async function image(client: RegistryClient): Promise<{ name: string; bytes: Buffer }> {
  const name = uniqueName()
  return { name, bytes: imageDocument(await client.pushBlob(name), [await client.pushBlob(name)]) }
}

/** Asserts that a manifest is refused by tag and by digest, and that nothing of it is kept. */
async function refuse(
  client: RegistryClient,
  pushed: { name: string; bytes: Buffer; mediaType?: string },
  statuses: number | number[],
  codes: string | string[],
): Promise<void> {
  const { name, bytes, mediaType = mediaTypes.image } = pushed
  for (const reference of ['refused', digestOf(bytes)]) {
    assertRefused(await client.putManifest(name, reference, bytes, mediaType), statuses, codes)
    assertRefused(await client.head(`/v2/${name}/manifests/${reference}`), 404)
  }
}
