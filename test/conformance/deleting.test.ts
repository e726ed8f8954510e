import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startRegistry } from '../harness.ts'
import {
  ALGORITHMS,
  digestOf,
  imageDocument,
  indexDocument,
  mediaTypes,
  randomBlob,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import { type Answer, RegistryClient, assertContent, assertRefused, describe, startClient } from '../registry-client.ts'

test('deleting', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Deleting tags": only the tag goes, the manifest and its other tags stay (${algorithm})`,
      async () => {
        const name = uniqueName()
        const { bytes, descriptor } = await client.pushImage(name, { algorithm })
        const tagged = await client.putManifest(name, `${descriptor.digest}?tag=v1&tag=v2`, bytes, mediaTypes.image)
        assert.equal(tagged.status, 201, describe(tagged))
        assertAccepted(await client.delete(`/v2/${name}/manifests/v1`))
        assertRefused(await client.get(`/v2/${name}/manifests/v1`), 404, 'MANIFEST_UNKNOWN')
        assertRefused(await client.head(`/v2/${name}/manifests/v1`), 404)
        assertContent(await client.get(`/v2/${name}/manifests/v2`), { bytes, ...descriptor })
        assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, ...descriptor })
        assert.deepEqual((await client.get(`/v2/${name}/tags/list`)).json(), { name, tags: ['v2'] })
      },
    )

    void t.test(`spec "Deleting Manifests": a manifest goes with all of its tags (${algorithm})`, async () => {
      const name = uniqueName()
      const kept = await client.pushImage(name, { reference: 'kept' })
      const { bytes, descriptor } = await client.pushImage(name, { algorithm })
      const tagged = await client.putManifest(name, `${descriptor.digest}?tag=v1&tag=v2`, bytes, mediaTypes.image)
      assert.equal(tagged.status, 201, describe(tagged))
      assertAccepted(await client.delete(`/v2/${name}/manifests/${descriptor.digest}`))
      for (const reference of [descriptor.digest, 'v1', 'v2']) {
        assertRefused(await client.get(`/v2/${name}/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN')
        assertRefused(await client.head(`/v2/${name}/manifests/${reference}`), 404)
      }
      assertContent(await client.get(`/v2/${name}/manifests/kept`), { bytes: kept.bytes, ...kept.descriptor })
      assert.deepEqual((await client.get(`/v2/${name}/tags/list`)).json(), { name, tags: ['kept'] })
    })

    void t.test(`spec "Deleting Blobs": a blob goes with 202 and is then not found (${algorithm})`, async () => {
      const name = uniqueName()
      const [gone, kept] = [await client.pushBlob(name, undefined, algorithm), await client.pushBlob(name)]
      assertAccepted(await client.delete(`/v2/${name}/blobs/${gone.digest}`))
      assertRefused(await client.get(`/v2/${name}/blobs/${gone.digest}`), 404, 'BLOB_UNKNOWN')
      assertRefused(await client.head(`/v2/${name}/blobs/${gone.digest}`), 404)
      assertRefused(await client.delete(`/v2/${name}/blobs/${gone.digest}`), 404, 'BLOB_UNKNOWN')
      assert.equal((await client.head(`/v2/${name}/blobs/${kept.digest}`)).status, 200)
    })

    void t.test(`spec "Endpoints": deleting what is not there is answered with 404 (${algorithm})`, async () => {
      const name = uniqueName()
      await client.pushImage(name, { reference: 'v1' })
      assertRefused(await client.delete(`/v2/${name}/manifests/v2`), 404, 'MANIFEST_UNKNOWN')
      assertRefused(await client.delete(`/v2/${name}/manifests/${unknownDigest(algorithm)}`), 404, 'MANIFEST_UNKNOWN')
      assertRefused(await client.delete(`/v2/${name}/blobs/${unknownDigest(algorithm)}`), 404, 'BLOB_UNKNOWN')
    })

    void t.test(`spec "Push": what was deleted can be pushed again (${algorithm})`, async () => {
      const [name, content] = [uniqueName(), randomBlob()]
      const config = await client.pushBlob(name, content, algorithm)
      const bytes = imageDocument(config, [])
      const image = await client.pushManifest(name, bytes, mediaTypes.image, { algorithm })
      assertAccepted(await client.delete(`/v2/${name}/manifests/${image.digest}`))
      assertAccepted(await client.delete(`/v2/${name}/blobs/${config.digest}`))
      await client.pushBlob(name, content, algorithm)
      await client.pushManifest(name, bytes, mediaTypes.image, { algorithm })
      assertContent(await client.get(`/v2/${name}/blobs/${config.digest}`), { bytes: content, digest: config.digest })
      assertContent(await client.get(`/v2/${name}/manifests/${image.digest}`), { bytes, ...image })
    })
  }

  void t.test('spec "Deleting Manifests": nothing can be deleted from a repository that does not exist', async () => {
    const name = uniqueName()
    for (const target of [`manifests/v1`, `manifests/${unknownDigest()}`, `blobs/${unknownDigest()}`]) {
      assertRefused(await client.delete(`/v2/${name}/${target}`), 404)
    }
  })

  void t.test('spec "Deleting Manifests": a manifest that is deleted here stays in other repositories', async () => {
    const [name, other, content] = [uniqueName(), uniqueName(), randomBlob()]
    const bytes = imageDocument(await client.pushBlob(name, content), [])
    await client.pushBlob(other, content)
    for (const repository of [name, other]) {
      await client.pushManifest(repository, bytes, mediaTypes.image, { reference: 'v1' })
    }
    assertAccepted(await client.delete(`/v2/${name}/manifests/${digestOf(bytes)}`))
    assertAccepted(await client.delete(`/v2/${name}/blobs/${digestOf(content)}`))
    const digest = digestOf(bytes)
    assertContent(await client.get(`/v2/${other}/manifests/v1`), { bytes, digest })
    assertContent(await client.get(`/v2/${other}/blobs/${digestOf(content)}`), {
      bytes: content,
      digest: digestOf(content),
    })
  })

  void t.test('spec "Deleting Manifests": of one document under two algorithms only the named one goes', async () => {
    const name = uniqueName()
    const bytes = imageDocument(await client.pushBlob(name), [])
    for (const algorithm of ALGORITHMS) await client.pushManifest(name, bytes, mediaTypes.image, { algorithm })
    assertAccepted(await client.delete(`/v2/${name}/manifests/${digestOf(bytes, 'sha256')}`))
    assertRefused(await client.head(`/v2/${name}/manifests/${digestOf(bytes, 'sha256')}`), 404)
    const digest = digestOf(bytes, 'sha512')
    assertContent(await client.get(`/v2/${name}/manifests/${digest}`), { bytes, digest })
  })

  void t.test('spec "Deleting Manifests": an index can be deleted before its images', async () => {
    const name = uniqueName()
    const { bytes, descriptor } = await client.pushImage(name)
    const index = await client.pushManifest(name, indexDocument([descriptor]), mediaTypes.index, { reference: 'v1' })
    assertAccepted(await client.delete(`/v2/${name}/manifests/${index.digest}`))
    assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, ...descriptor })
    assertAccepted(await client.delete(`/v2/${name}/manifests/${descriptor.digest}`))
  })

  void t.test('spec "Error Codes": what is neither a digest nor a tag is not deleted', async () => {
    const name = uniqueName()
    await client.pushImage(name, { reference: 'v1' })
    for (const target of ['manifests/sha256:short', 'manifests/.v1', 'blobs/sha256:short', 'blobs/v1']) {
      assertRefused(await client.delete(`/v2/${name}/${target}`), [400, 404])
    }
  })
})

test('storage.delete.enabled false: nothing can be deleted', { concurrency: 4 }, async (t) => {
  const client = await startClient(t, { config: { storage: { delete: { enabled: false } } } })
  const name = uniqueName()
  const { bytes, descriptor } = await client.pushImage(name, { reference: 'v1' })
  const blob = await client.pushBlob(name)

  for (const [title, target] of [
    ['spec "Deleting tags": a disabled deletion of a tag is refused with 405', 'manifests/v1'],
    [
      'spec "Deleting Manifests": a disabled deletion of a manifest is refused with 405',
      `manifests/${descriptor.digest}`,
    ],
    ['spec "Deleting Blobs": a disabled deletion of a blob is refused with 405', `blobs/${blob.digest}`],
  ] as const) {
    void t.test(title, async () => {
      assertUnsupported(await client.delete(`/v2/${name}/${target}`))
      assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, ...descriptor })
      assert.equal((await client.head(`/v2/${name}/blobs/${blob.digest}`)).status, 200)
    })
  }

  void t.test('spec "Cancel a blob upload": an upload can be canceled where deletion is disabled', async () => {
    assert.equal((await client.delete(await client.startUpload(name))).status, 204)
  })
})

test(
  'storage.maintenance.readonly: everything can be pulled, nothing pushed or deleted',
  { concurrency: 4 },
  async (t) => {
    const writable = await startRegistry(t)
    const before = new RegistryClient(writable.url)
    const name = uniqueName()
    const { bytes, descriptor } = await before.pushImage(name, { reference: 'v1' })
    const blob = await before.pushBlob(name)
    await writable.stop()
    const filesystem = { rootdirectory: writable.dataDirectory }
    const client = await startClient(t, {
      config: { storage: { filesystem, maintenance: { readonly: { enabled: true } } } },
    })

    void t.test('spec "Conformance": a read-only registry has all of the Pull and Discovery categories', async () => {
      assert.equal((await client.get('/v2/')).status, 200)
      assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, ...descriptor })
      assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, ...descriptor })
      assert.equal((await client.get(`/v2/${name}/blobs/${blob.digest}`)).body.length, blob.size)
      assert.deepEqual((await client.get(`/v2/${name}/tags/list`)).json(), { name, tags: ['v1'] })
      assert.equal((await client.get(`/v2/${name}/referrers/${descriptor.digest}`)).status, 200)
      assert.deepEqual((await client.get('/v2/_catalog')).json(), { repositories: [name] })
    })

    void t.test('Docker: a read-only registry refuses each push with 405', async () => {
      const uploads = `/v2/${name}/blobs/uploads/`
      assertUnsupported(await client.post(uploads))
      assertUnsupported(await client.post(`${uploads}?digest=${digestOf('x')}`, { body: 'x' }))
      assertUnsupported(await client.post(`${uploads}?mount=${blob.digest}&from=${name}`))
      assertUnsupported(
        await client.patchChunk(`${client.origin}${uploads}00000000-0000-4000-8000-000000000000`, randomBlob()),
      )
      for (const reference of ['v1', 'v2', descriptor.digest]) {
        assertUnsupported(await client.putManifest(name, reference, bytes, mediaTypes.image))
      }
    })

    void t.test('Docker: a read-only registry refuses each deletion with 405', async () => {
      for (const target of ['manifests/v1', `manifests/${descriptor.digest}`, `blobs/${blob.digest}`]) {
        assertUnsupported(await client.delete(`/v2/${name}/${target}`))
      }
      assertContent(await client.get(`/v2/${name}/manifests/v1`), { bytes, ...descriptor })
    })
  },
)

function assertAccepted(answer: Answer): void {
  assert.equal(answer.status, 202, describe(answer))
}

function assertUnsupported(answer: Answer): void {
  assertRefused(answer, 405, 'UNSUPPORTED')
  assert.ok(answer.header('allow') !== undefined, '405 without Allow (RFC 9110, section 15.5.6)')
}
