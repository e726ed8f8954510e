import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS, digestOf, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertContentHeaders,
  assertRefused,
  startClient,
} from '../registry-client.ts'

const SIZE = 2048

test('pulling blobs', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(`spec "Pulling blobs": a blob is pulled by its digest, byte for byte (${algorithm})`, async () => {
      const { bytes, url, digest } = await pushed(client, randomBlob(300_000), algorithm)
      assertContent(await client.get(url), { bytes, digest })
    })

    void t.test(
      `spec "Checking if content exists in the registry": HEAD of a blob gives 200, digest and size (${algorithm})`,
      async () => {
        const { bytes, url, digest } = await pushed(client, randomBlob(), algorithm)
        assertContentHeaders(await client.head(url), { digest, size: bytes.length })
      },
    )

    void t.test(`spec "Pulling blobs": a blob of no bytes is content like any other (${algorithm})`, async () => {
      const { bytes, url, digest } = await pushed(client, Buffer.alloc(0), algorithm)
      assertContent(await client.get(url), { bytes, digest })
      assertContentHeaders(await client.head(url), { digest, size: 0 })
    })

    void t.test(`spec "Pulling blobs": a blob that is not there is answered with 404 (${algorithm})`, async () => {
      const name = uniqueName()
      await client.pushBlob(name)
      const url = `/v2/${name}/blobs/${unknownDigest(algorithm)}`
      assertRefused(await client.get(url), 404, 'BLOB_UNKNOWN')
      assertRefused(await client.head(url), 404)
    })

    void t.test(
      `spec "Pulling blobs": one range of a blob is answered with 206 and its bytes (${algorithm})`,
      async () => {
        const { bytes, url } = await pushed(client, randomBlob(SIZE), algorithm)
        assertPart(await client.get(url, { Range: 'bytes=500-1499' }), bytes, 500, 1499)
        assertPart(await client.get(url, { Range: 'bytes=0-0' }), bytes, 0, 0)
      },
    )
  }

  void t.test('spec "Pulling blobs": a blob belongs to its repository and to no other', async () => {
    const { digest } = await pushed(client)
    const other = uniqueName()
    await client.pushBlob(other)
    assertRefused(await client.get(`/v2/${other}/blobs/${digest}`), 404, 'BLOB_UNKNOWN')
    assertRefused(await client.head(`/v2/${other}/blobs/${digest}`), 404)
  })

  void t.test('spec "Pulling blobs": what is no digest names no blob', async () => {
    const name = uniqueName()
    await client.pushBlob(name)
    for (const digest of [
      'latest',
      'sha256:short',
      `sha256:${'G'.repeat(64)}`,
      'md5:d41d8cd98f00b204e9800998ecf8427e',
    ]) {
      assertRefused(await client.get(`/v2/${name}/blobs/${digest}`), [400, 404], ['DIGEST_INVALID', 'BLOB_UNKNOWN'])
    }
  })

  void t.test('spec "Resumable Pull": the two halves of a blob make the blob', async () => {
    const { bytes, url, digest } = await pushed(client, randomBlob(100_000))
    const first = await client.get(url, { Range: 'bytes=0-49999' })
    const second = await client.get(url, { Range: 'bytes=50000-' })
    assertPart(first, bytes, 0, 49_999)
    assertPart(second, bytes, 50_000, 99_999)
    assert.equal(digestOf(Buffer.concat([first.body, second.body])), digest)
  })

  void t.test('RFC 9110 "Accept-Ranges": a blob says that it can be read in byte ranges', async () => {
    const { url } = await pushed(client)
    assert.equal((await client.get(url)).header('accept-ranges'), 'bytes')
    assert.equal((await client.head(url)).header('accept-ranges'), 'bytes')
  })

  void t.test('RFC 9110 "Byte Ranges": a range without an end goes to the end', async () => {
    const { bytes, url } = await pushed(client)
    assertPart(await client.get(url, { Range: 'bytes=500-' }), bytes, 500, SIZE - 1)
    assertPart(await client.get(url, { Range: 'bytes=0-' }), bytes, 0, SIZE - 1)
  })

  void t.test('RFC 9110 "Byte Ranges": a suffix gives the last bytes', async () => {
    const { bytes, url } = await pushed(client)
    assertPart(await client.get(url, { Range: 'bytes=-500' }), bytes, SIZE - 500, SIZE - 1)
  })

  void t.test('RFC 9110 "Byte Ranges": a suffix longer than the blob gives the whole of it', async () => {
    const { bytes, url } = await pushed(client)
    const answer = await client.get(url, { Range: 'bytes=-99999' })
    if (answer.status === 200) assert.ok(answer.body.equals(bytes))
    else assertPart(answer, bytes, 0, SIZE - 1)
  })

  void t.test('RFC 9110 "Byte Ranges": a range that ends beyond the blob ends with the blob', async () => {
    const { bytes, url } = await pushed(client)
    assertPart(await client.get(url, { Range: 'bytes=2000-5000' }), bytes, 2000, SIZE - 1)
    assertPart(await client.get(url, { Range: `bytes=0-${'9'.repeat(30)}` }), bytes, 0, SIZE - 1)
  })

  void t.test('RFC 9110 "416 Range Not Satisfiable": a range outside of the blob gives 416 and the size', async () => {
    const { url } = await pushed(client)
    for (const range of ['bytes=2048-', 'bytes=5000-10000', 'bytes=-0', `bytes=${'9'.repeat(30)}-`]) {
      const answer = await client.get(url, { Range: range })
      assertRefused(answer, 416)
      assert.equal(answer.header('content-range'), `bytes */${SIZE}`, range)
    }
    const empty = await pushed(client, Buffer.alloc(0))
    const answer = await client.get(empty.url, { Range: 'bytes=0-0' })
    assertRefused(answer, 416)
    assert.equal(answer.header('content-range'), 'bytes */0')
  })

  void t.test('RFC 9110 "Range": a range whose end is before its start is rejected with 416', async () => {
    const { url } = await pushed(client)
    assertRefused(await client.get(url, { Range: 'bytes=500-0' }), 416)
  })

  void t.test('RFC 9110 "Range": a malformed range is rejected with 416 or ignored', async () => {
    const { bytes, url } = await pushed(client)
    for (const range of [
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=1',
      'bytes 0-1',
      'bytes=0x1-2',
      'bytes=1--2',
      '=0-1',
    ]) {
      const answer = await client.get(url, { Range: range })
      if (answer.status === 200) assert.ok(answer.body.equals(bytes), range)
      else assertRefused(answer, [400, 416])
    }
  })

  void t.test('RFC 9110 "Range": a range in a unit that is not bytes is ignored', async () => {
    const { bytes, url, digest } = await pushed(client)
    assertContent(await client.get(url, { Range: 'items=0-5' }), { bytes, digest })
  })

  void t.test('RFC 9110 "Range": several ranges give the whole blob, or each of them in a multipart body', async () => {
    const { bytes, url } = await pushed(client)
    const answer = await client.get(url, { Range: 'bytes=0-9, 100-109' })
    if (answer.status === 200) {
      assert.ok(answer.body.equals(bytes))
      return
    }
    assert.equal(answer.status, 206)
    assert.match(answer.header('content-type') ?? '', /^multipart\/byteranges; *boundary=/)
    assert.ok(answer.body.includes(bytes.subarray(0, 10)) && answer.body.includes(bytes.subarray(100, 110)))
    assert.match(answer.body.toString('latin1'), /content-range: bytes 100-109\/2048/i)
  })

  void t.test('RFC 9110 "Range": a range on HEAD is ignored', async () => {
    const { bytes, url, digest } = await pushed(client)
    assertContentHeaders(await client.head(url, { Range: 'bytes=0-9' }), { digest, size: bytes.length })
  })

  void t.test('RFC 9110 "If-Range": the range counts only while the entity tag is the same', async () => {
    const { bytes, url, digest } = await pushed(client)
    const etag = (await client.head(url)).header('etag')
    assert.match(etag ?? '', /^"[^"]+"$/, 'a blob has a strong entity tag')
    const range = { Range: 'bytes=500-1499' }
    assertPart(await client.get(url, { ...range, 'If-Range': etag }), bytes, 500, 1499)
    assertContent(await client.get(url, { ...range, 'If-Range': '"another"' }), { bytes, digest })
    assertContent(await client.get(url, { ...range, 'If-Range': `W/${etag}` }), { bytes, digest })
  })
})

async function pushed(client: RegistryClient, bytes = randomBlob(SIZE), algorithm = ALGORITHMS[0]) {
  const name = uniqueName()
  const { digest } = await client.pushBlob(name, bytes, algorithm)
  return { bytes, digest, url: `/v2/${name}/blobs/${digest}` }
}

function assertPart(answer: Answer, whole: Buffer, first: number, last: number): void {
  assert.equal(answer.status, 206, answer.url)
  assert.equal(answer.header('content-range'), `bytes ${first}-${last}/${whole.length}`)
  assert.equal(answer.header('content-length'), String(last - first + 1))
  assert.ok(answer.body.equals(whole.subarray(first, last + 1)))
}
