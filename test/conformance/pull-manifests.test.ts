import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALGORITHMS,
  dockerImageDocument,
  dockerListDocument,
  indexDocument,
  mediaTypes,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import { assertContent, assertContentHeaders, assertRefused, startClient } from '../registry-client.ts'

test('pulling manifests', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  void t.test('spec "Determining Support": GET /v2/ answers 200', async () => {
    assert.equal((await client.get('/v2/')).status, 200)
  })

  void t.test('spec "Legacy Docker support HTTP headers": /v2/ names the Docker API version', async () => {
    assert.equal((await client.get('/v2/')).header('docker-distribution-api-version'), 'registry/2.0')
  })

  void t.test('spec "Pulling manifests": a manifest is pulled by its tag, byte for byte', async () => {
    const name = uniqueName()
    const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
    assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, ...descriptor })
  })

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Pulling manifests": a manifest is pulled by its digest, byte for byte (${algorithm})`,
      async () => {
        const name = uniqueName()
        const { bytes, descriptor } = await client.pushImage(name, { algorithm })
        assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, ...descriptor })
      },
    )

    void t.test(
      `spec "Pulling manifests": an index is pulled by its digest, byte for byte (${algorithm})`,
      async () => {
        const name = uniqueName()
        const image = await client.pushImage(name, { algorithm })
        const bytes = indexDocument([{ ...image.descriptor, platform: { os: 'linux', architecture: 'arm64' } }])
        const index = await client.pushManifest(name, bytes, mediaTypes.index, { algorithm })
        assertContent(await client.get(`/v2/${name}/manifests/${index.digest}`), { bytes, ...index })
      },
    )

    void t.test(
      `spec "Pulling manifests": a manifest that is not there is answered with 404 (${algorithm})`,
      async () => {
        const name = uniqueName()
        await client.pushImage(name)
        const answer = await client.get(`/v2/${name}/manifests/${unknownDigest(algorithm)}`)
        assertRefused(answer, 404, 'MANIFEST_UNKNOWN')
      },
    )

    void t.test(
      `spec "Checking if content exists in the registry": HEAD of a manifest gives 200, type, digest and size (${algorithm})`,
      async () => {
        const name = uniqueName()
        const { descriptor } = await client.pushImage(name, { algorithm })
        assertContentHeaders(await client.head(`/v2/${name}/manifests/${descriptor.digest}`), descriptor)
      },
    )

    void t.test(
      `spec "Checking if content exists in the registry": HEAD of a manifest that is not there gives 404 (${algorithm})`,
      async () => {
        const name = uniqueName()
        await client.pushImage(name)
        assertRefused(await client.head(`/v2/${name}/manifests/${unknownDigest(algorithm)}`), 404)
      },
    )
  }

  void t.test('spec "Pulling manifests": a tag on a sha512 manifest is answered with the sha512 digest', async () => {
    const name = uniqueName()
    const { bytes, descriptor } = await client.pushImage(name, { algorithm: 'sha512' })
    const tagged = await client.putManifest(name, `${descriptor.digest}?tag=v1`, bytes, mediaTypes.image)
    assert.equal(tagged.status, 201)
    assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, ...descriptor })
    assertContentHeaders(await client.head(`/v2/${name}/manifests/v1`), descriptor)
  })

  void t.test('spec "Checking if content exists in the registry": HEAD of a tag gives what its GET gives', async () => {
    const name = uniqueName()
    const { descriptor } = await client.pushImage(name, { reference: 'v1' })
    assertContentHeaders(await client.head(`/v2/${name}/manifests/v1`), descriptor)
    assertRefused(await client.head(`/v2/${name}/manifests/v2`), 404)
  })

  void t.test('spec "Pulling manifests": an unknown tag is answered with 404', async () => {
    const name = uniqueName()
    await client.pushImage(name, { reference: 'v1' })
    assertRefused(await client.get(`/v2/${name}/manifests/v2`), 404, 'MANIFEST_UNKNOWN')
  })

  void t.test(
    'spec "Pushing Manifests": a pull from a repository that does not exist is answered with 404',
    async () => {
      const name = uniqueName()
      const codes = ['NAME_UNKNOWN', 'MANIFEST_UNKNOWN', 'BLOB_UNKNOWN']
      assertRefused(await client.get(`/v2/${name}/manifests/latest`), 404, codes)
      assertRefused(await client.get(`/v2/${name}/manifests/${unknownDigest()}`), 404, codes)
      assertRefused(await client.get(`/v2/${name}/blobs/${unknownDigest()}`), 404, codes)
      assertRefused(await client.head(`/v2/${name}/manifests/latest`), 404)
      assertRefused(await client.head(`/v2/${name}/blobs/${unknownDigest()}`), 404)
    },
  )

  void t.test('spec "Pulling manifests": a manifest belongs to its repository and to no other', async () => {
    const [name, other] = [uniqueName(), uniqueName()]
    const { descriptor } = await client.pushImage(name)
    await client.pushImage(other)
    assertRefused(await client.get(`/v2/${other}/manifests/${descriptor.digest}`), 404, 'MANIFEST_UNKNOWN')
    assertRefused(await client.head(`/v2/${other}/manifests/${descriptor.digest}`), 404)
  })

  void t.test('spec "Pulling manifests": what is neither a digest nor a tag is never found', async () => {
    const name = uniqueName()
    await client.pushImage(name, { reference: 'v1' })
    const references = [
      'sha256:baddigeststring',
      `sha256:${'A'.repeat(64)}`,
      `sha256:${'a'.repeat(63)}`,
      `sha512:${'a'.repeat(64)}`,
      'md5:d41d8cd98f00b204e9800998ecf8427e',
      '.v1',
      '-v1',
      'v1+2',
      'v1%2F2',
      'v'.repeat(129),
      'v%C3%A9',
    ]
    for (const reference of references)
      assertRefused(await client.get(`/v2/${name}/manifests/${reference}`), [400, 404])
  })

  void t.test('spec "Pulling manifests": a name that the expression does not allow is refused', async () => {
    const names = ['Upper/case', '_a', 'a_', 'a-', '-a', 'a..b', 'a.-b', 'a___b', 'a/_b', 'a/-b', 'a%20b', 'a/%C3%A9']
    for (const name of names) {
      // A segment that begins with an underscore is an extension's (extensions/README.md).
      const codes = ['NAME_INVALID', 'NAME_UNKNOWN', ...(/(^|\/)_/.test(name) ? ['UNSUPPORTED'] : [])]
      assertRefused(await client.get(`/v2/${name}/manifests/v1`), [400, 404], codes)
      assertRefused(await client.get(`/v2/${name}/tags/list`), [400, 404], codes)
    }
  })

  void t.test(
    'spec "Pulling manifests": every name that the expression allows can be pushed to and pulled from',
    async () => {
      const unique = uniqueName('n')
      const names = [
        'a',
        '0',
        'a/b/c/d/e/f/g',
        'a.b',
        'a_b',
        'a__b',
        'a-b',
        'a-----b',
        '0.0_0__0-0',
        'v2',
        'library/v2',
      ]
      // Names made of the words that the paths of the API are made of.
      names.push('manifests', 'blobs/uploads', 'tags/list', 'tags', 'referrers', 'a/manifests/b', 'a/blobs/sha256')
      names.push(`${'long-'.repeat(38)}name`)
      for (const name of [...names, ...names.slice(11).map((last) => `${unique}/${last}`)]) {
        const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
        assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, ...descriptor })
        const list = await client.get(`/v2/${name}/tags/list`)
        assert.deepEqual(list.json(), { name, tags: ['v1'] })
      }
    },
  )

  void t.test('spec "Pulling manifests": the type is the one that was pushed, without parameters', async () => {
    const name = uniqueName()
    const [config, layer] = [await client.pushBlob(name), await client.pushBlob(name)]
    const dockerImage = dockerImageDocument(config, [layer])
    const image = await client.pushManifest(name, dockerImage, mediaTypes.dockerImage, { reference: 'docker' })
    const dockerList = dockerListDocument([{ ...image, platform: { os: 'linux', architecture: 'amd64' } }])
    const list = await client.pushManifest(name, dockerList, mediaTypes.dockerList, { reference: 'list' })
    const oci = await client.pushImage(name, { reference: 'oci' })
    const ociIndex = indexDocument([oci.descriptor])
    const index = await client.pushManifest(name, ociIndex, mediaTypes.index, { reference: 'index' })
    const all = Object.values(mediaTypes).join(', ')
    for (const [reference, bytes, descriptor] of [
      ['docker', dockerImage, image],
      ['list', dockerList, list],
      ['oci', oci.bytes, oci.descriptor],
      ['index', ociIndex, index],
    ] as const) {
      assertContent(await client.get(`/v2/${name}/manifests/${reference}`, { Accept: all }), { bytes, ...descriptor })
      assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, ...descriptor })
    }
  })

  void t.test('spec "Pulling manifests": Accept may be absent, a wildcard, a list or several lines', async () => {
    const name = uniqueName()
    const image = await client.pushImage(name)
    const bytes = indexDocument([{ ...image.descriptor, platform: { os: 'linux', architecture: 'amd64' } }])
    const index = await client.pushManifest(name, bytes, mediaTypes.index, { reference: 'v1' })
    const accepts = [
      undefined,
      '*/*',
      'application/*',
      `${mediaTypes.dockerImage}, ${mediaTypes.image};q=0.5,${mediaTypes.index}`,
      [mediaTypes.image, mediaTypes.index],
    ]
    for (const accept of accepts) {
      for (const reference of ['v1', index.digest]) {
        const headers = accept === undefined ? {} : { Accept: accept }
        assertContent(await client.get(`/v2/${name}/manifests/${reference}`, headers), { bytes, ...index })
      }
    }
  })

  void t.test(
    'spec "Pulling manifests": an existing manifest is given with 200 even when Accept does not name it',
    async () => {
      const name = uniqueName()
      const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
      for (const reference of ['v1', descriptor.digest]) {
        const answer = await client.get(`/v2/${name}/manifests/${reference}`, { Accept: mediaTypes.dockerImage })
        assertContent(answer, { bytes, ...descriptor })
      }
    },
  )

  void t.test(
    'content-negotiation: a client that accepts only images gets the linux/amd64 image of a tagged list or index',
    async () => {
      const name = uniqueName()
      const [config, layer] = [await client.pushBlob(name), await client.pushBlob(name)]
      const amd64 = { platform: { os: 'linux', architecture: 'amd64' } }
      const arm64 = { platform: { os: 'linux', architecture: 'arm64' } }
      for (const [imageType, listType] of [
        [mediaTypes.dockerImage, mediaTypes.dockerList],
        [mediaTypes.image, mediaTypes.index],
      ] as const) {
        const oci = imageType === mediaTypes.image
        const bytes = oci ? (await client.pushImage(name)).bytes : dockerImageDocument(config, [layer])
        const image = await client.pushManifest(name, bytes, imageType)
        const other = await client.pushImage(name)
        const children = [
          { ...typed(other.descriptor, mediaTypes.image), ...arm64 },
          { ...image, ...amd64 },
        ]
        const list = oci ? indexDocument(children) : dockerListDocument(children)
        const pushed = await client.pushManifest(name, list, listType, { reference: oci ? 'index' : 'list' })
        const target = `/v2/${name}/manifests/${oci ? 'index' : 'list'}`
        assertContent(await client.get(target, { Accept: imageType }), { bytes, ...image })
        assertContentHeaders(await client.head(target, { Accept: imageType }), image)
        // A digest names one document, whatever is accepted.
        const byDigest = await client.get(`/v2/${name}/manifests/${pushed.digest}`, { Accept: imageType })
        assertContent(byDigest, { bytes: list, ...pushed })
      }
    },
  )

  void t.test('RFC 3986: a digest whose colon is percent-encoded names the same content', async () => {
    const name = uniqueName()
    const { bytes, descriptor } = await client.pushImage(name)
    const encoded = descriptor.digest.replace(':', '%3A')
    assertContent(await client.get(`/v2/${name}/manifests/${encoded}`), { bytes, ...descriptor })
    const blob = await client.pushBlob(name)
    assertContentHeaders(await client.head(`/v2/${name}/blobs/${blob.digest.replace(':', '%3A')}`), {
      digest: blob.digest,
      size: blob.size,
    })
  })
})
