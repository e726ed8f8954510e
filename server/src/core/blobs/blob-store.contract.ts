import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import type { Digest } from '@entrepot/oci'
import type { BlobStore } from './store.ts'

const sha256 = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

async function* chunksOf(...chunks: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* chunks
}

async function* interrupted(chunk: Uint8Array): AsyncIterable<Uint8Array> {
  yield chunk
  throw new Error('the client went away')
}

/** What one read gives of content that is there. */
async function readAt(store: BlobStore, digest: Digest, position: number, length: number): Promise<Buffer> {
  const content = await store.open(digest)
  assert.ok(content !== undefined)
  const target = Buffer.alloc(length)
  try {
    return target.subarray(0, await content.read(target, position))
  } finally {
    await content.close()
  }
}

/** The promises that every store keeps; `open` gives an empty one, or undefined where it cannot be tested. */
export function testBlobStore(name: string, open: (t: TestContext) => Promise<BlobStore | undefined>): void {
  test(`${name}: what is appended in pieces is finished as one content`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const content = Buffer.alloc(3_500_000, 'entrepot')
    const half = await store.appendUpload('u', 0, chunksOf(content.subarray(0, 10), content.subarray(10, 1_700_000)))
    assert.equal(half, 1_700_000)
    assert.equal(await store.uploadSize('u'), half)
    assert.equal(await store.appendUpload('u', half, chunksOf(content.subarray(half))), content.byteLength)
    const digest = sha256(content)
    await store.finishUpload('u', digest, content.byteLength)
    assert.equal(await store.size(digest), content.byteLength)
    assert.equal(await store.uploadSize('u'), 0)
    assert.ok((await readAt(store, digest, 0, content.byteLength)).equals(content))
    assert.ok((await readAt(store, digest, 5, 5)).equals(content.subarray(5, 10)))
  })

  test(`${name}: content that was never finished is not there`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const digest = sha256(Buffer.from('absent'))
    assert.equal(await store.size(digest), undefined)
    assert.equal(await store.open(digest), undefined)
  })

  test(`${name}: a read of more than there is ends where the content ends`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const digest = sha256(Buffer.from('short'))
    await store.appendUpload('u', 0, chunksOf(Buffer.from('short')))
    await store.finishUpload('u', digest, 5)
    assert.equal((await readAt(store, digest, 2, 9)).toString(), 'ort')
    assert.equal((await readAt(store, digest, 5, 9)).byteLength, 0)
  })

  test(`${name}: an upload without bytes becomes empty content`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const digest = sha256(Buffer.alloc(0))
    await store.finishUpload('empty', digest, 0)
    assert.equal(await store.size(digest), 0)
  })

  test(`${name}: an upload that lost bytes does not become content, nor harms the content that is there`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const content = Buffer.from('verified')
    await store.appendUpload('good', 0, chunksOf(content))
    await store.finishUpload('good', sha256(content), content.byteLength)
    await assert.rejects(store.finishUpload('gone', sha256(content), content.byteLength))
    await store.appendUpload('short', 0, chunksOf(content.subarray(1)))
    await assert.rejects(store.finishUpload('short', sha256(content), content.byteLength), /7 bytes/)
    assert.equal((await readAt(store, sha256(content), 0, content.byteLength)).toString(), 'verified')
  })

  test(`${name}: what was received before a source fails is kept`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    await assert.rejects(store.appendUpload('u', 0, interrupted(Buffer.from('received'))), /went away/)
    assert.equal(await store.uploadSize('u'), 8)
    assert.equal((await buffer(store.readUpload('u'))).toString(), 'received')
  })

  test(`${name}: an upload can be cut back and forgotten`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    await store.appendUpload('u', 0, chunksOf(Buffer.from('0123456789')))
    await store.truncateUpload('u', 4)
    assert.equal(await store.uploadSize('u'), 4)
    await store.removeUpload('u')
    await store.removeUpload('u')
    await store.truncateUpload('u', 0)
    assert.equal(await store.uploadSize('u'), 0)
    assert.equal((await buffer(store.readUpload('u'))).byteLength, 0)
  })

  test(`${name}: uploads are listed with the time of their last byte`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const before = Date.now() - 2_000
    await store.appendUpload('one', 0, chunksOf(Buffer.from('x')))
    const uploads = await Array.fromAsync(store.listUploads())
    assert.deepEqual(
      uploads.map((upload) => upload.id),
      ['one'],
    )
    assert.ok(uploads.every((upload) => upload.modifiedAt >= before))
  })

  test(`${name}: the same content may be stored again`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const content = Buffer.from('the same content')
    for (const id of ['first', 'second']) {
      await store.appendUpload(id, 0, chunksOf(content))
      await store.finishUpload(id, sha256(content), content.byteLength)
    }
    assert.equal(await store.size(sha256(content)), content.byteLength)
  })

  test(`${name}: it is empty until content is finished, and again when that is removed`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const content = Buffer.from('one')
    const digest = sha256(content)
    assert.equal(await store.isEmpty(), true)
    await store.appendUpload('u', 0, chunksOf(content))
    assert.equal(await store.isEmpty(), true, 'an upload is no content')
    await store.finishUpload('u', digest, content.byteLength)
    assert.equal(await store.isEmpty(), false)
    const reading = await store.open(digest)
    const target = Buffer.alloc(3)
    assert.equal(await reading?.read(target.subarray(0, 1), 0), 1)
    const remove = await store.prepareRemoval([digest, sha256(Buffer.from('other'))])
    await remove([sha256(Buffer.from('other'))])
    assert.equal(await store.isEmpty(), false)
    await remove([digest])
    await remove([digest])
    assert.equal(await store.size(digest), undefined)
    assert.equal(await store.isEmpty(), true)
    assert.equal(await reading?.read(target.subarray(1), 1), 2, 'who has begun to read it may go on')
    assert.equal(target.toString(), 'one')
    await reading?.close()
  })

  test(`${name}: content in quarantine is absent, and is whole again when it is stored once more`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    const content = Buffer.from('damaged, let us say')
    const digest = sha256(content)
    await store.quarantine(digest)
    for (const id of ['first', 'second', 'third']) {
      await store.appendUpload(id, 0, chunksOf(content))
      await store.finishUpload(id, digest, content.byteLength)
      const reading = await store.open(digest)
      await store.quarantine(digest)
      await store.quarantine(digest)
      assert.equal(await store.size(digest), undefined)
      assert.equal(await store.open(digest), undefined)
      assert.equal(await store.isEmpty(), true, 'what is in quarantine is no content')
      assert.equal(await reading?.read(Buffer.alloc(1), 0), 1, 'who is reading it may go on')
      await reading?.close()
    }
    await store.appendUpload('last', 0, chunksOf(content))
    await store.finishUpload('last', digest, content.byteLength)
    assert.ok((await readAt(store, digest, 0, content.byteLength)).equals(content))
  })

  test(`${name}: the check leaves nothing behind`, async (t) => {
    const store = await open(t)
    if (store === undefined) return
    await store.check()
    assert.deepEqual(await Array.fromAsync(store.listUploads()), [])
  })
}
