import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRegistry } from '../harness.ts'
import { ALGORITHMS, digestOf, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import { type Answer, RegistryClient, assertContent, assertRefused, describe, startClient } from '../registry-client.ts'

const CHUNK = 65_536
const SIZE = 3 * CHUNK - 5

test('pushing blobs in chunks', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Pushing a blob in chunks": three chunks and a closing PUT make a blob (${algorithm})`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob(SIZE)]
        let url = await client.startUpload(name, `?digest-algorithm=${algorithm}`)
        for (let start = 0; start < SIZE; start += CHUNK) {
          const end = Math.min(start + CHUNK, SIZE) - 1
          const answer = await client.patchChunk(url, bytes.subarray(start, end + 1), `${start}-${end}`)
          assertTaken(answer, end)
          url = client.location(answer)
        }
        await assertCreated(
          client,
          await client.putBlob(url, digestOf(bytes, algorithm)),
          bytes,
          digestOf(bytes, algorithm),
        )
      },
    )

    void t.test(
      `spec "Pushing a blob in chunks": the final chunk may come with the closing PUT (${algorithm})`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob(SIZE)]
        const first = await client.patchChunk(
          await client.startUpload(name),
          bytes.subarray(0, CHUNK),
          `0-${CHUNK - 1}`,
        )
        assertTaken(first, CHUNK - 1)
        const answer = await client.putBlob(client.location(first), digestOf(bytes, algorithm), bytes.subarray(CHUNK), {
          'Content-Range': `${CHUNK}-${SIZE - 1}`,
        })
        await assertCreated(client, answer, bytes, digestOf(bytes, algorithm))
      },
    )

    void t.test(
      `spec "Pushing a blob in chunks": a blob may be streamed in one PATCH without a range (${algorithm})`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob(SIZE)]
        const answer = await client.request('PATCH', await client.startUpload(name), { body: bytes, streamed: true })
        assertTaken(answer, SIZE - 1)
        const closed = await client.putBlob(client.location(answer), digestOf(bytes, algorithm))
        await assertCreated(client, closed, bytes, digestOf(bytes, algorithm))
      },
    )

    void t.test(
      `spec "Error Codes": chunks that are not what the digest says make no blob (${algorithm})`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob()]
        await client.pushBlob(name)
        const patched = await client.patchChunk(await client.startUpload(name), bytes, `0-${bytes.length - 1}`)
        const wrong = unknownDigest(algorithm)
        assertRefused(await client.putBlob(client.location(patched), wrong), 400, 'DIGEST_INVALID')
        assertRefused(await client.head(`/v2/${name}/blobs/${wrong}`), 404)
        assertRefused(await client.head(`/v2/${name}/blobs/${digestOf(bytes, algorithm)}`), 404)
      },
    )
  }

  void t.test('spec "Pushing a blob in chunks": the final chunk may have any length', async () => {
    const [name, bytes] = [uniqueName(), randomBlob(CHUNK + 1)]
    const first = await client.patchChunk(await client.startUpload(name), bytes.subarray(0, CHUNK), `0-${CHUNK - 1}`)
    const last = await client.patchChunk(client.location(first), bytes.subarray(CHUNK), `${CHUNK}-${CHUNK}`)
    assertTaken(last, CHUNK)
    await assertCreated(client, await client.putBlob(client.location(last), digestOf(bytes)), bytes, digestOf(bytes))
  })

  void t.test('spec "Pushing a blob in chunks": the whole blob may be one ranged PUT', async () => {
    const [name, bytes] = [uniqueName(), randomBlob(CHUNK)]
    const range = { 'Content-Range': `0-${CHUNK - 1}` }
    const answer = await client.putBlob(await client.startUpload(name), digestOf(bytes), bytes, range)
    await assertCreated(client, answer, bytes, digestOf(bytes))
  })

  void t.test('spec "Pushing a blob in chunks": the first chunk begins at 0, or it is refused with 416', async () => {
    const [name, bytes] = [uniqueName(), randomBlob()]
    const url = await client.startUpload(name)
    assertRefused(await client.patchChunk(url, bytes, `1-${bytes.length}`), 416)
    assertTaken(await client.patchChunk(await current(client, url), bytes, `0-${bytes.length - 1}`), bytes.length - 1)
  })

  void t.test(
    'spec "Pushing a blob in chunks": a chunk out of order is refused with 416 and leaves the upload as it was',
    async () => {
      const [name, bytes] = [uniqueName(), randomBlob(SIZE)]
      const first = await client.patchChunk(await client.startUpload(name), bytes.subarray(0, CHUNK), `0-${CHUNK - 1}`)
      let url = client.location(first)
      for (const start of [0, 1, CHUNK - 1, CHUNK + 1, 2 * CHUNK]) {
        const answer = await client.patchChunk(url, bytes.subarray(start, start + 100), `${start}-${start + 99}`)
        assertRefused(answer, 416)
        url = await current(client, url, CHUNK - 1)
      }
      const rest = await client.patchChunk(url, bytes.subarray(CHUNK), `${CHUNK}-${SIZE - 1}`)
      assertTaken(rest, SIZE - 1)
      await assertCreated(client, await client.putBlob(client.location(rest), digestOf(bytes)), bytes, digestOf(bytes))
    },
  )

  void t.test(
    'spec "Pushing a blob in chunks": a final chunk out of order is refused with 416 and leaves the upload as it was',
    async () => {
      const [name, bytes] = [uniqueName(), randomBlob(SIZE)]
      const first = await client.patchChunk(await client.startUpload(name), bytes.subarray(0, CHUNK), `0-${CHUNK - 1}`)
      let url = client.location(first)
      for (const start of [0, CHUNK - 1, CHUNK + 1]) {
        const range = { 'Content-Range': `${start}-${SIZE - 1}` }
        assertRefused(await client.putBlob(url, digestOf(bytes), bytes.subarray(start), range), 416)
        url = await current(client, url, CHUNK - 1)
      }
      assertRefused(await client.head(`/v2/${name}/blobs/${digestOf(bytes)}`), 404)
      const range = { 'Content-Range': `${CHUNK}-${SIZE - 1}` }
      const closed = await client.putBlob(url, digestOf(bytes), bytes.subarray(CHUNK), range)
      await assertCreated(client, closed, bytes, digestOf(bytes))
    },
  )

  void t.test('spec "Pushing a blob in chunks": a range that the expression does not allow is refused', async () => {
    const [name, bytes] = [uniqueName(), randomBlob(10)]
    let url = await client.startUpload(name)
    for (const range of ['0-', '-9', '9-0', 'a-b', '0-9,20-29', '0 - 9', `0-${'9'.repeat(30)}`, 'bytes=', '0x0-0x9']) {
      assertRefused(await client.patchChunk(url, bytes, range), [400, 416])
      url = await current(client, url)
    }
    assertTaken(await client.patchChunk(url, bytes, '0-9'), 9)
  })

  void t.test('spec "Pushing a blob in chunks": a range that is not as long as its chunk is refused', async () => {
    const [name, bytes] = [uniqueName(), randomBlob(10)]
    let url = await client.startUpload(name)
    for (const range of ['0-8', '0-10', '0-999']) {
      assertRefused(await client.patchChunk(url, bytes, range), [400, 416])
      url = await current(client, url)
    }
    assertTaken(await client.patchChunk(url, bytes, '0-9'), 9)
  })

  void t.test(
    'spec "Pushing a blob in chunks": the status of an upload is 204 with its location and its range',
    async () => {
      const [name, bytes] = [uniqueName(), randomBlob(CHUNK)]
      const begun = await client.startUpload(name)
      const url = await current(client, begun)
      const patched = await client.patchChunk(url, bytes, `0-${CHUNK - 1}`)
      await current(client, client.location(patched), CHUNK - 1)
      assert.equal((await client.head(begun)).header('range'), `0-${CHUNK - 1}`)
      // The location of any preceding POST or PATCH still answers.
      await current(client, begun, CHUNK - 1)
    },
  )

  void t.test('spec "Pushing a blob in chunks": the digest counts, not the algorithm that was announced', async () => {
    for (const [announced, used] of [ALGORITHMS, ALGORITHMS.toReversed()]) {
      const [name, bytes] = [uniqueName(), randomBlob(CHUNK)]
      const url = await client.startUpload(name, `?digest-algorithm=${announced}`)
      const patched = await client.patchChunk(url, bytes, `0-${CHUNK - 1}`)
      const digest = digestOf(bytes, used)
      const closed = await client.putBlob(client.location(patched), digest)
      if (closed.status === 201) await assertCreated(client, closed, bytes, digest)
      else assertRefused(closed, 400, 'DIGEST_INVALID')
    }
  })

  void t.test('Docker: each answer about an upload names it by Docker-Upload-UUID', async () => {
    const begun = await client.post(`/v2/${uniqueName()}/blobs/uploads/`)
    const patched = await client.patchChunk(client.location(begun), randomBlob())
    const status = await client.get(client.location(patched))
    const ids = [begun, patched, status].map((answer) => answer.header('docker-upload-uuid'))
    assert.deepEqual(ids, [ids[0], ids[0], ids[0]])
    assert.ok(ids[0])
  })

  for (const sent of [0, 100]) {
    void t.test(
      `spec "Cancel a blob upload": an upload of ${sent} bytes is canceled with 204 and is gone`,
      async () => {
        const [name, bytes] = [uniqueName(), randomBlob(100)]
        let url = await client.startUpload(name)
        if (sent > 0) url = client.location(await client.patchChunk(url, bytes, `0-${sent - 1}`))
        const answer = await client.request('DELETE', url, { headers: { 'Content-Length': 0 } })
        assert.equal(answer.status, 204, describe(answer))
        assertRefused(await client.get(url), 404, 'BLOB_UPLOAD_UNKNOWN')
        assertRefused(await client.patchChunk(url, bytes), 404, 'BLOB_UPLOAD_UNKNOWN')
        assertRefused(await client.putBlob(url, digestOf(bytes), bytes), 404, 'BLOB_UPLOAD_UNKNOWN')
        assertRefused(await client.delete(url), 404, 'BLOB_UPLOAD_UNKNOWN')
      },
    )
  }
})

test('spec "Resumable Push": an upload goes on where it was after a restart of the registry', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const [name, bytes] = [uniqueName(), randomBlob(SIZE)]
  for (const algorithm of ALGORITHMS) {
    const begun = await client.startUpload(name, `?digest-algorithm=${algorithm}`)
    const patched = await client.patchChunk(begun, bytes.subarray(0, CHUNK), `0-${CHUNK - 1}`)
    assertTaken(patched, CHUNK - 1)
    await registry.stop()
    await registry.start()
    const url = await current(client, client.location(patched), CHUNK - 1)
    const rest = await client.patchChunk(url, bytes.subarray(CHUNK), `${CHUNK}-${SIZE - 1}`)
    assertTaken(rest, SIZE - 1)
    const closed = await client.putBlob(client.location(rest), digestOf(bytes, algorithm))
    await assertCreated(client, closed, bytes, digestOf(bytes, algorithm))
  }
})

test('spec "Cancel a blob upload": an upload that nobody finishes or cancels times out', async (t) => {
  const purging = { enabled: true, age: '1s', interval: '1s', dryrun: false }
  const client = await startClient(t, { config: { storage: { maintenance: { uploadpurging: purging } } } })
  const name = uniqueName()
  const url = client.location(await client.patchChunk(await client.startUpload(name), randomBlob()))
  const deadline = Date.now() + 20_000
  let answer = await client.get(url)
  while (answer.status === 204 && Date.now() < deadline) {
    await sleep(250)
    answer = await client.get(url)
  }
  assertRefused(answer, 404, 'BLOB_UPLOAD_UNKNOWN')
})

/** Asserts that a chunk was accepted and that the upload now ends with this byte. */
function assertTaken(answer: Answer, end: number): void {
  assert.equal(answer.status, 202, describe(answer))
  assert.equal(answer.header('range'), `0-${end}`)
}

/** Asserts the status of an active upload and gives the location that it names. */
async function current(client: RegistryClient, url: string, end = 0): Promise<string> {
  const answer = await client.get(url)
  assert.equal(answer.status, 204, describe(answer))
  assert.equal(answer.header('range'), `0-${end}`)
  return client.location(answer)
}

async function assertCreated(client: RegistryClient, answer: Answer, bytes: Buffer, digest: string): Promise<void> {
  assert.equal(answer.status, 201, describe(answer))
  assert.equal(answer.header('docker-content-digest'), digest)
  assertContent(await client.get(client.location(answer)), { bytes, digest })
}

test('spec "Pushing a blob in chunks": OCI-Chunk-Min-Length is what the configuration asks clients for', async (t) => {
  const modest = await startClient(t)
  assert.equal((await modest.post(`/v2/${uniqueName()}/blobs/uploads/`)).header('oci-chunk-min-length'), undefined)
  const client = await startClient(t, { config: { limits: { chunksize: CHUNK } } })
  const [name, bytes] = [uniqueName(), randomBlob(2 * CHUNK + 1)]
  const begun = await client.post(`/v2/${name}/blobs/uploads/`)
  assert.equal(begun.header('oci-chunk-min-length'), String(CHUNK))
  const first = await client.patchChunk(client.location(begun), bytes.subarray(0, CHUNK), `0-${CHUNK - 1}`)
  assertTaken(first, CHUNK - 1)
  const last = await client.patchChunk(client.location(first), bytes.subarray(CHUNK), `${CHUNK}-${2 * CHUNK}`)
  await assertCreated(client, await client.putBlob(client.location(last), digestOf(bytes)), bytes, digestOf(bytes))
})
