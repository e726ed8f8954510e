import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS, digestOf, mediaTypes, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertRefused,
  describe,
  exchangeRaw,
  startClient,
} from '../registry-client.ts'

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i
const MALFORMED_DIGESTS = [
  '',
  'latest',
  'sha256',
  'sha256:',
  'sha256:short',
  `sha256:${'A'.repeat(64)}`,
  `sha512:${'a'.repeat(64)}`,
]
const UNSUPPORTED_DIGESTS = ['md5:d41d8cd98f00b204e9800998ecf8427e', 'crc32:00000000', `blake3:${'a'.repeat(64)}`]

test('pushing blobs monolithically', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  void t.test(
    'spec "POST then PUT": each session is begun with 202 and a location that holds its own UUID',
    async () => {
      const name = uniqueName()
      const answers = [await client.post(uploads(name)), await client.post(uploads(name))]
      const ids = answers.map((answer) => {
        assert.equal(answer.status, 202, describe(answer))
        const id = UUID.exec(client.location(answer))?.[0]
        assert.ok(id, `no UUID in ${answer.header('location')}`)
        return id
      })
      assert.notEqual(ids[0], ids[1])
    },
  )

  void t.test('Docker: the session is also named by Docker-Upload-UUID, and its range is 0-0', async () => {
    const answer = await client.post(uploads(uniqueName()))
    assert.match(client.location(answer), new RegExp(answer.header('docker-upload-uuid') ?? 'no Docker-Upload-UUID'))
    assert.equal(answer.header('range'), '0-0')
  })

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "POST then PUT": a blob is created with 201 and a location that gives it (${algorithm})`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob(100_000)]
        const answer = await client.putBlob(await client.startUpload(name), digestOf(bytes, algorithm), bytes)
        await assertCreated(client, answer, bytes, digestOf(bytes, algorithm))
      },
    )

    void t.test(
      `spec "POST then PUT": digest-algorithm may be named when the session is begun (${algorithm})`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob()]
        const url = await client.startUpload(name, `?digest-algorithm=${algorithm}`)
        await assertCreated(
          client,
          await client.putBlob(url, digestOf(bytes, algorithm), bytes),
          bytes,
          digestOf(bytes, algorithm),
        )
      },
    )

    void t.test(`spec "Single POST": a blob is created by one POST with its digest (${algorithm})`, async () => {
      const [name, bytes] = [uniqueName(), randomBlob(100_000)]
      const answer = await singlePost(client, name, digestOf(bytes, algorithm), bytes)
      await assertCreated(client, answer, bytes, digestOf(bytes, algorithm))
    })

    void t.test(`spec "Pushing blobs": a blob of no bytes is created in each way (${algorithm})`, async () => {
      const [name, bytes] = [uniqueName(), Buffer.alloc(0)]
      const digest = digestOf(bytes, algorithm)
      await assertCreated(client, await client.putBlob(await client.startUpload(name), digest, bytes), bytes, digest)
      await assertCreated(client, await singlePost(client, uniqueName(), digest, bytes), bytes, digest)
      const url = await client.startUpload(uniqueName())
      const patched = await client.patchChunk(url, bytes)
      assert.equal(patched.status, 202, describe(patched))
      await assertCreated(client, await client.putBlob(client.location(patched), digest), bytes, digest)
    })

    void t.test(
      `spec "Error Codes": content that is not what its digest says is refused and not kept (${algorithm})`,
      async () => {
        const [name, bytes, wrong] = [uniqueName(), randomBlob(), unknownDigest(algorithm)]
        await client.pushBlob(name)
        const put = await client.putBlob(await client.startUpload(name), wrong, bytes)
        assertRefused(put, 400, 'DIGEST_INVALID')
        assertRefused(await singlePost(client, name, wrong, bytes), 400, 'DIGEST_INVALID')
        for (const digest of [wrong, digestOf(bytes), digestOf(bytes, 'sha512')]) {
          assertRefused(await client.head(`/v2/${name}/blobs/${digest}`), 404)
        }
      },
    )
  }

  void t.test('spec "Pushing blobs": an invalid digest is refused with 400, however the blob is pushed', async () => {
    const [name, bytes] = [uniqueName(), randomBlob()]
    for (const digest of MALFORMED_DIGESTS) {
      assertRefused(await client.putBlob(await client.startUpload(name), digest, bytes), 400, 'DIGEST_INVALID')
      const url = client.location(await client.patchChunk(await client.startUpload(name), bytes))
      assertRefused(await client.putBlob(url, digest), 400, 'DIGEST_INVALID')
      if (digest !== '') assertRefused(await singlePost(client, name, digest, bytes), 400, 'DIGEST_INVALID')
    }
  })

  void t.test(
    'spec "Pushing blobs": an unsupported algorithm is refused with 400, however the blob is pushed',
    async () => {
      const [name, bytes] = [uniqueName(), randomBlob()]
      for (const digest of UNSUPPORTED_DIGESTS) {
        assertRefused(await client.putBlob(await client.startUpload(name), digest, bytes), 400, 'DIGEST_INVALID')
        const url = client.location(await client.patchChunk(await client.startUpload(name), bytes))
        assertRefused(await client.putBlob(url, digest), 400, 'DIGEST_INVALID')
        assertRefused(await singlePost(client, name, digest, bytes), 400, 'DIGEST_INVALID')
      }
      for (const algorithm of ['md5', 'SHA256', 'nonsense', '..%2F..']) {
        assertRefused(await client.post(`${uploads(name)}?digest-algorithm=${algorithm}`), 400)
      }
    },
  )

  void t.test('spec "POST then PUT": a session is not closed without a digest', async () => {
    const [name, bytes] = [uniqueName(), randomBlob()]
    const answer = await client.request('PUT', await client.startUpload(name), { body: bytes })
    assertRefused(answer, 400, 'DIGEST_INVALID')
    assertRefused(await client.head(`/v2/${name}/blobs/${digestOf(bytes)}`), 404)
  })

  void t.test('spec "POST then PUT": a location with its parameters is kept when the digest is added', async () => {
    const [name, bytes] = [uniqueName(), randomBlob()]
    const url = await client.startUpload(name)
    const plain = `${url}${url.includes('?') ? '&' : '?'}digest=${digestOf(bytes)}`
    await assertCreated(client, await client.request('PUT', plain, { body: bytes }), bytes, digestOf(bytes))
  })

  void t.test('spec "POST then PUT": a session is over once its blob is there', async () => {
    const [name, bytes] = [uniqueName(), randomBlob()]
    const url = await client.startUpload(name)
    assert.equal((await client.putBlob(url, digestOf(bytes), bytes)).status, 201)
    assertRefused(await client.get(url), 404, 'BLOB_UPLOAD_UNKNOWN')
    assertRefused(await client.patchChunk(url, bytes), 404, 'BLOB_UPLOAD_UNKNOWN')
  })

  void t.test(
    'spec "Layer Upload De-duplication": a blob that is there can be pushed again, also at the same time',
    async () => {
      const [name, bytes] = [uniqueName(), randomBlob(50_000)]
      await client.pushBlob(name, bytes)
      const urls = await Promise.all([1, 2, 3, 4].map(() => client.startUpload(name)))
      for (const answer of await Promise.all(urls.map((url) => client.putBlob(url, digestOf(bytes), bytes)))) {
        await assertCreated(client, answer, bytes, digestOf(bytes))
      }
    },
  )

  void t.test(
    'spec "Pushing a blob monolithically": the same content may be stored under both algorithms',
    async () => {
      const [name, bytes] = [uniqueName(), randomBlob()]
      await client.pushBlob(name, bytes, 'sha256')
      assertRefused(await client.head(`/v2/${name}/blobs/${digestOf(bytes, 'sha512')}`), 404)
      await client.pushBlob(name, bytes, 'sha512')
      for (const algorithm of ALGORITHMS) {
        const digest = digestOf(bytes, algorithm)
        assertContent(await client.get(`/v2/${name}/blobs/${digest}`), { bytes, digest })
      }
    },
  )

  void t.test('spec "Single POST": a body shorter than its Content-Length makes no blob', async () => {
    const [name, bytes] = [uniqueName(), Buffer.from('half of it')]
    await client.pushBlob(name)
    const target = `${uploads(name)}?digest=${digestOf(bytes)}`
    const head = `POST ${target} HTTP/1.1\r\nHost: registry.test\r\nContent-Length: 20\r\n\r\n`
    assert.doesNotMatch(await exchangeRaw(client.origin, head + bytes.toString(), true), /^HTTP\/1.1 2/)
    assertRefused(await client.head(`/v2/${name}/blobs/${digestOf(bytes)}`), 404)
  })

  void t.test('spec "Error Codes": a session that never was is answered with 404', async () => {
    const name = uniqueName()
    const begun = await client.startUpload(name)
    const url = begun.replace(UUID, '00000000-0000-4000-8000-000000000000')
    for (const answer of [
      await client.get(url),
      await client.patchChunk(url, randomBlob()),
      await client.putBlob(url, unknownDigest(), randomBlob()),
      await client.delete(url),
    ]) {
      assertRefused(answer, 404, 'BLOB_UPLOAD_UNKNOWN')
    }
  })

  void t.test('RFC 9110 "Idempotent Methods": an upload that is closed again, as by a proxy, is there', async () => {
    const [name, other, bytes] = [uniqueName(), uniqueName(), randomBlob()]
    await client.pushBlob(other)
    const url = await client.startUpload(name)
    for (const answer of [
      await client.putBlob(url, digestOf(bytes), bytes),
      await client.putBlob(url, digestOf(bytes), bytes),
    ]) {
      assert.equal(answer.status, 201, describe(answer))
      assert.equal(answer.header('docker-content-digest'), digestOf(bytes))
    }
    assertRefused(await client.putBlob(url, unknownDigest(), bytes), 404, 'BLOB_UPLOAD_UNKNOWN')
    assertRefused(await client.putBlob(url.replace(name, other), digestOf(bytes)), 404, 'BLOB_UPLOAD_UNKNOWN')
  })

  void t.test('spec "POST then PUT": a session belongs to its repository and to no other', async () => {
    const [name, other, bytes] = [uniqueName(), uniqueName(), randomBlob()]
    await client.pushBlob(other)
    const url = await client.startUpload(name)
    const stolen = url.replace(name, other)
    assertRefused(await client.get(stolen), 404, 'BLOB_UPLOAD_UNKNOWN')
    assertRefused(await client.patchChunk(stolen, bytes), 404, 'BLOB_UPLOAD_UNKNOWN')
    assertRefused(await client.putBlob(stolen, digestOf(bytes), bytes), 404, 'BLOB_UPLOAD_UNKNOWN')
    assertRefused(await client.delete(stolen), 404, 'BLOB_UPLOAD_UNKNOWN')
    assert.equal((await client.get(url)).status, 204)
  })

  void t.test('spec "Error Codes": an upload to an invalid name is refused with NAME_INVALID', async () => {
    for (const name of ['Upper', 'a..b', 'a/-b', '-a', 'a'.repeat(300)]) {
      assertRefused(await client.post(uploads(name)), [400, 404], 'NAME_INVALID')
    }
  })

  void t.test('RFC 9110 "Expect": a client that waits for 100 Continue is let go on', async () => {
    const [name, bytes] = [uniqueName(), Buffer.from('continued')]
    const { pathname, search } = new URL(await client.startUpload(name))
    const target = `${pathname}${search}${search === '' ? '?' : '&'}digest=${digestOf(bytes)}`
    const head = `PUT ${target} HTTP/1.1\r\nHost: registry.test\r\nExpect: 100-continue\r\nConnection: close\r\n`
    const answer = await exchangeRaw(client.origin, `${head}Content-Length: ${bytes.length}\r\n\r\n${bytes.toString()}`)
    assert.match(answer, /^HTTP\/1.1 100 Continue\r\n/)
    assert.match(answer, /HTTP\/1.1 201 Created\r\n/)
  })
})

function uploads(name: string): string {
  return `/v2/${name}/blobs/uploads/`
}

function singlePost(client: RegistryClient, name: string, digest: string, body: Buffer): Promise<Answer> {
  const headers = { 'Content-Type': mediaTypes.octetStream }
  return client.post(`${uploads(name)}?digest=${encodeURIComponent(digest)}`, { headers, body })
}

async function assertCreated(client: RegistryClient, answer: Answer, bytes: Buffer, digest: string): Promise<void> {
  assert.equal(answer.status, 201, describe(answer))
  assert.equal(answer.header('docker-content-digest'), digest)
  assertContent(await client.get(client.location(answer)), { bytes, digest })
}
