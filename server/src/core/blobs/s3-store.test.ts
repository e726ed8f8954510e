import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, test, type TestContext } from 'node:test'
import { Bucket } from '#platform/s3'
import { isMinioPresent, type MinioServer, startMinio } from '../../../../test/minio-server.ts'
import { testBlobStore } from './blob-store.contract.ts'
import { digestOf } from './content-hash.ts'
import { removeS3Leftovers } from './s3-leftovers.ts'
import { segmentName } from './s3-names.ts'
import { S3Store } from './s3-store.ts'

const MIB = 1024 * 1024
const isEnding = () => false

let minio: Promise<MinioServer> | undefined
after(async () => (await minio)?.remove())

/** An empty store; undefined where there is no MinIO. */
async function openStore(t: TestContext): Promise<S3Store | undefined> {
  if (!isMinioPresent(t)) return undefined
  return new S3Store(await openBucket())
}

async function openBucket(prefix = `${randomUUID()}/`): Promise<Bucket> {
  const { storage } = await (minio ??= startMinio())
  return Bucket.open({
    bucket: storage.bucket,
    region: storage.region,
    endpoint: storage.regionendpoint,
    isPathStyle: true,
    credentials: { accessKeyId: storage.accesskey, secretAccessKey: storage.secretkey },
    isUnverified: false,
    isDualStack: false,
    isAccelerated: false,
    prefix,
    partBytes: 5 * MIB,
    storageClass: undefined,
    acl: undefined,
    encryption: undefined,
    settings: 'configuration',
  })
}

testBlobStore('a bucket', openStore)

/** Everything below a prefix. */
async function keysOf(bucket: Bucket): Promise<string[]> {
  return Array.fromAsync(bucket.list(''), ({ key }) => key)
}

test('what belongs to no upload and no content is removed by its age, and everything else stays', async (t) => {
  if (!isMinioPresent(t)) return
  const bucket = await openBucket()
  const store = new S3Store(bucket)
  const [kept, damaged] = [Buffer.from('kept'), Buffer.from('damaged')]
  for (const bytes of [kept, damaged]) {
    await store.appendUpload('u', 0, Readable.from([bytes]))
    await store.finishUpload('u', digestOf('sha256', bytes), bytes.byteLength)
  }
  await store.quarantine(digestOf('sha256', damaged))
  await store.appendUpload('open', 0, Readable.from([Buffer.from('received')]))
  const needed = await keysOf(bucket)
  const lost = [`objects/${randomUUID()}`, `checks/${randomUUID()}`]
  for (const key of lost) await bucket.put(key, Buffer.from('left by a crash'))
  const multipart = await bucket.beginMultipart(`objects/${randomUUID()}`)
  await bucket.putPart(multipart, 1, Buffer.alloc(1))
  const [past, future] = [Date.now() - 60_000, Date.now() + 60_000]

  assert.deepEqual(await store.removeLeftovers({ before: past, isDryRun: false, isEnding }), [])
  const found = await store.removeLeftovers({ before: future, isDryRun: true, isEnding })
  // MinIO lists the uploads of an exact key only.
  assert.deepEqual(
    found.filter((key) => key !== multipart.key),
    lost,
  )
  assert.deepEqual((await keysOf(bucket)).toSorted(), [...needed, ...lost].toSorted())
  await store.removeLeftovers({ before: future, isDryRun: false, isEnding })
  assert.deepEqual(await keysOf(bucket), needed)
})

test('more objects than are compared at once are compared in parts', async (t) => {
  if (!isMinioPresent(t)) return
  const bucket = await openBucket()
  const store = new S3Store(bucket)
  for (let count = 0; count < 12; count++) {
    const bytes = randomBytes(10)
    // The store frees what it is given.
    await store.appendUpload('u', 0, Readable.from([Buffer.from(bytes)]))
    await store.finishUpload('u', digestOf('sha256', bytes), bytes.byteLength)
  }
  const lost = Array.from({ length: 20 }, () => `objects/${randomUUID()}`)
  for (const key of lost) await bucket.put(key, Buffer.from('left by a crash'))
  const options = { before: Date.now() + 60_000, isDryRun: true, isEnding }
  for (const maxNamed of [2, 5]) {
    assert.deepEqual((await removeS3Leftovers(bucket, options, maxNamed)).toSorted(), lost.toSorted())
  }
})

test('a multipart upload that was never completed is found by its age, and can be aborted, also twice', async (t) => {
  if (!isMinioPresent(t)) return
  const bucket = await openBucket()
  const multipart = await bucket.beginMultipart('objects/one')
  await bucket.putPart(multipart, 1, Buffer.alloc(1))
  const listed = async (before: number) => Array.fromAsync(bucket.listMultiparts(multipart.key, before))
  assert.deepEqual(await listed(Date.now() - 60_000), [])
  assert.deepEqual(await listed(Date.now() + 60_000), [multipart])
  await bucket.abortMultipart(multipart)
  await bucket.abortMultipart(multipart)
  assert.deepEqual(await listed(Date.now() + 60_000), [])
})

test('content that another instance stores again while it is collected stays', async (t) => {
  if (!isMinioPresent(t)) return
  const prefix = `${randomUUID()}/`
  const [one, other] = [new S3Store(await openBucket(prefix)), new S3Store(await openBucket(prefix))]
  const content = Buffer.from('pushed again')
  const digest = digestOf('sha256', content)
  const push = async (store: S3Store, id: string) => {
    await store.appendUpload(id, 0, Readable.from([content]))
    await store.finishUpload(id, digest, content.byteLength)
  }
  await push(one, 'first')
  const reading = await other.open(digest)
  const remove = await one.prepareRemoval([digest])
  await push(other, 'second')
  await remove([digest])
  const target = Buffer.alloc(content.byteLength)
  assert.equal(await reading?.read(target, 0), content.byteLength, 'who has opened the older one gets the same bytes')
  assert.deepEqual(target, content)
  for (const store of [one, other]) assert.equal(await store.size(digest), content.byteLength)
})

test('content that others store again each time it is looked for or read is found where it is now', async (t) => {
  if (!isMinioPresent(t)) return
  const prefix = `${randomUUID()}/`
  const bucket = await openBucket(prefix)
  const [store, others] = [new S3Store(bucket), new S3Store(await openBucket(prefix))]
  const content = randomBytes(100)
  const digest = digestOf('sha256', content)
  const push = async () => {
    const id = randomUUID()
    await others.appendUpload(id, 0, Readable.from([Buffer.from(content)]))
    await others.finishUpload(id, digest, content.byteLength)
  }
  /** Lets the content move before the next calls of a method. */
  const moveBefore = (method: 'head' | 'get', times: number) => {
    const original = bucket[method].bind(bucket)
    const moving = async (...parameters: [never, never, never]) => {
      if (times-- > 0) await push()
      return original(...parameters)
    }
    t.mock.method(bucket, method, moving)
  }
  await push()
  moveBefore('head', 3)
  const reading = await store.open(digest)
  assert.equal(reading?.sizeBytes, content.byteLength)
  moveBefore('get', 3)
  const target = Buffer.alloc(content.byteLength)
  assert.equal(await reading.read(target, 0), content.byteLength)
  assert.deepEqual(target, content)
  moveBefore('get', 2)
  assert.equal(await reading.digest('sha256'), digest)
  await push()
  const key = await store.pathOf(digest)
  assert.ok(key !== undefined && (await bucket.head(key.slice(prefix.length))), 'a reader is sent to what has gone')
})

test('of two instances that write to the same place of an upload, never both are told that it is kept', async (t) => {
  if (!isMinioPresent(t)) return
  const prefix = `${randomUUID()}/`
  const stores = [new S3Store(await openBucket(prefix)), new S3Store(await openBucket(prefix))]
  for (let round = 0; round < 10; round++) {
    const id = `upload-${round}`
    const written = await Promise.allSettled(
      stores.map(async (store, index) => store.appendUpload(id, 0, Readable.from([Buffer.alloc(10, index)]))),
    )
    const kept = written.filter(({ status }) => status === 'fulfilled').length
    assert.ok(kept <= 1)
    assert.equal(await stores[0]?.uploadSize(id), kept * 10)
  }
})

test('instances that store the same content at once leave it there once', async (t) => {
  if (!isMinioPresent(t)) return
  const prefix = `${randomUUID()}/`
  const bucket = await openBucket(prefix)
  const stores = [new S3Store(bucket), new S3Store(await openBucket(prefix)), new S3Store(await openBucket(prefix))]
  const content = randomBytes(1000)
  const digest = digestOf('sha256', content)
  for (let round = 0; round < 5; round++) {
    await Promise.all(
      stores.map(async (store, index) => {
        await store.appendUpload(`${round}-${index}`, 0, Readable.from([Buffer.from(content)]))
        await store.finishUpload(`${round}-${index}`, digest, content.byteLength)
      }),
    )
    const keys = await keysOf(bucket)
    assert.equal(keys.length, 2, `one object and its name: ${keys.join(', ')}`)
    for (const store of stores) assert.equal(await store.size(digest), content.byteLength)
  }
})

test('an upload that came in pieces of every size is put together byte for byte', async (t) => {
  if (!isMinioPresent(t)) return
  const bucket = await openBucket()
  const store = new S3Store(bucket)
  for (const sizes of [
    [3 * MIB, 3 * MIB],
    [10, 12 * MIB, 7],
    [6 * MIB, 10, 5 * MIB + 1, 4 * MIB, 4 * MIB, 4 * MIB],
    [1, 1, 1],
    [5 * MIB, 5 * MIB, 1],
  ]) {
    const content = randomBytes(sizes.reduce((sum, size) => sum + size))
    let sent = 0
    for (const size of sizes) {
      sent = await store.appendUpload('u', sent, Readable.from([Buffer.from(content.subarray(sent, sent + size))]))
    }
    await store.joinUpload('u')
    assert.equal(await store.uploadSize('u'), content.byteLength)
    const digest = digestOf('sha256', content)
    await store.finishUpload('u', digest, content.byteLength)
    const reading = await store.open(digest)
    assert.equal(await reading?.digest('sha256'), digest)
    await reading?.close()
    await (
      await store.prepareRemoval([digest])
    )([digest])
    assert.deepEqual(await keysOf(bucket), [], 'something is left')
  }
})

test('an upload whose pieces were put together by a process that then died goes on', async (t) => {
  if (!isMinioPresent(t)) return
  const bucket = await openBucket()
  const store = new S3Store(bucket)
  await store.appendUpload('u', 0, Readable.from([Buffer.from('one')]))
  await store.appendUpload('u', 3, Readable.from([Buffer.from('two')]))
  const objectId = randomUUID()
  await bucket.put(`objects/${objectId}`, Buffer.from('onetwo'))
  await bucket.put(segmentName({ uploadId: 'u', offset: 0, sizeBytes: 6, objectId }), Buffer.alloc(0))
  assert.equal(await store.uploadSize('u'), 6)
  await store.appendUpload('u', 6, Readable.from([Buffer.from('three')]))
  assert.equal((await buffer(store.readUpload('u'))).toString(), 'onetwothree')
  await store.finishUpload('u', digestOf('sha256', Buffer.from('onetwothree')), 11)
  await store.removeUpload('u')
  assert.equal(await store.size(digestOf('sha256', Buffer.from('onetwothree'))), 11)
  assert.equal((await keysOf(bucket)).length, 2)
})
