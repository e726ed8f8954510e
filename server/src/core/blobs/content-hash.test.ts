import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { ContentHash } from './content-hash.ts'

const KIB = 1024
/** Both sides of the size from which a thread hashes, and what goes there in several pieces. */
const sizes = fc.array(fc.oneof(fc.nat(300), fc.integer({ min: 100 * KIB, max: 300 * KIB })), { maxLength: 5 })
const algorithms = fc.constantFrom('sha256', 'sha512')

/** One piece of bytes in chunks, some of which share their memory with others, as those from the network do. */
function inChunks(bytes: Uint8Array): Uint8Array[] {
  const middle = Math.floor(bytes.byteLength / 3)
  return [Uint8Array.from(bytes.subarray(0, middle)), bytes.slice(middle), Buffer.from('ab').subarray(0, 0)]
}

test('a digest is that of all bytes in the order of the calls, however they came', async () => {
  await fc.assert(
    fc.asyncProperty(algorithms, sizes, async (algorithm, lengths) => {
      const pieces = lengths.map((length) => randomBytes(length))
      const hash = new ContentHash(algorithm)
      const passed = await Promise.all(pieces.map(async (piece) => hash.update(inChunks(Buffer.from(piece)))))
      const expected = createHash(algorithm).update(Buffer.concat(pieces)).digest('hex')
      assert.equal(await hash.digest(), `${algorithm}:${expected}`)
      assert.equal(hash.sizeBytes, Buffer.concat(pieces).byteLength)
      assert.ok(Buffer.concat(passed.flat()).equals(Buffer.concat(pieces)), 'the bytes come back as they were')
    }),
    { numRuns: 60 },
  )
})

test('a copy and its origin know nothing of each other', async () => {
  await fc.assert(
    fc.asyncProperty(sizes, sizes, async (before, after) => {
      const [first, second] = [before, after].map((lengths) => randomBytes(lengths.reduce((sum, n) => sum + n, 0)))
      assert.ok(first !== undefined && second !== undefined)
      const origin = new ContentHash('sha256')
      void origin.update([Uint8Array.from(first)])
      const copy = origin.copy()
      void origin.update([Uint8Array.from(second)])
      const digests = await Promise.all([origin.digest(), copy.digest()])
      const expected = [Buffer.concat([first, second]), first].map(
        (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
      )
      assert.deepEqual(digests, expected)
    }),
    { numRuns: 60 },
  )
})

test('what is written on its way is in the file, each piece at its place, and has the same digest', async (t) => {
  const path = await temporaryFile(t)
  await fc.assert(
    fc.asyncProperty(algorithms, sizes, async (algorithm, lengths) => {
      const pieces = lengths.map((length) => randomBytes(length))
      const hash = new ContentHash(algorithm)
      const file = await open(path, 'w')
      let position = 0
      const writing = pieces.map(async (piece) => {
        const place = { descriptor: file.fd, position }
        position += piece.byteLength
        await hash.write(inChunks(Buffer.from(piece)), place)
      })
      await Promise.all(writing)
      await file.close()
      const expected = createHash(algorithm).update(Buffer.concat(pieces)).digest('hex')
      assert.equal(await hash.digest(), `${algorithm}:${expected}`)
      assert.ok((await readFile(path)).equals(Buffer.concat(pieces)))
    }),
    { numRuns: 60 },
  )
})

test('what the file system says is thrown, whoever writes, and the thread goes on for others', async (t) => {
  const path = await temporaryFile(t)
  const readOnly = await open(path, 'r')
  t.after(async () => readOnly.close())
  for (const size of [100, 300 * KIB]) {
    const hash = new ContentHash('sha256')
    const place = { descriptor: readOnly.fd, position: 0 }
    const isRefused = { code: 'EBADF', syscall: 'write' }
    await assert.rejects(hash.write([Uint8Array.from(randomBytes(size))], place), isRefused)
    const other = new ContentHash('sha256')
    const bytes = randomBytes(size)
    await other.update([Uint8Array.from(bytes)])
    assert.equal(await other.digest(), `sha256:${createHash('sha256').update(bytes).digest('hex')}`)
  }
})

async function temporaryFile(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-hash-'))
  t.after(async () => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'file'), '')
  return join(folder, 'file')
}
