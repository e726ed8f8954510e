import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
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
