import { createHash, type Hash, randomBytes } from 'node:crypto'

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

const BLOCK = randomBytes(MIB)
const TAIL_BYTES = 32
/** Docker's HTTP client (Go's io.Copy) sends a body of unknown length in pieces of this size. */
const CHUNK_BYTES = 32 * KIB
const FRAMED_BLOCK = inChunks(BLOCK)

const hashedPrefixes = new Map<number, Hash>()

/** A blob that no server has seen before, with its digest. */
export interface Payload {
  readonly sizeBytes: number
  /** `sha256:<hex>` */
  readonly digest: string
  /** The bytes from `start` up to, and without, `end`. The buffers are shared: do not change them. */
  readonly read: (start: number, end: number) => Generator<Buffer>
}

/**
 * Makes a blob of at least 32 bytes. It is one random mebibyte over and over and ends in 32 bytes of its own, so that
 * a digest costs no second pass: the hash of the repeated part is kept, and only the end is added.
 */
export function makePayload(sizeBytes: number): Payload {
  const tail = randomBytes(TAIL_BYTES)
  const prefixBytes = sizeBytes - TAIL_BYTES
  const digest = `sha256:${hashOfPrefix(prefixBytes).copy().update(tail).digest('hex')}`
  function* read(start: number, end: number): Generator<Buffer> {
    yield* readPrefix(start, Math.min(end, prefixBytes))
    if (end > prefixBytes) yield tail.subarray(Math.max(start - prefixBytes, 0), end - prefixBytes)
  }
  return { sizeBytes, digest, read }
}

/** Puts a body into the pieces of HTTP's chunked transfer coding (RFC 9112 section 7.1), the last one included. */
export function* chunkedCoding(body: Iterable<Buffer>): Generator<Buffer> {
  for (const block of body) yield block === BLOCK ? FRAMED_BLOCK : inChunks(block)
  yield Buffer.from('0\r\n\r\n')
}

function inChunks(block: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < block.length; at += CHUNK_BYTES) {
    const piece = block.subarray(at, at + CHUNK_BYTES)
    parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

function* readPrefix(start: number, end: number): Generator<Buffer> {
  let at = start
  while (at < end) {
    const offset = at % MIB
    const length = Math.min(MIB - offset, end - at)
    yield length === MIB ? BLOCK : BLOCK.subarray(offset, offset + length)
    at += length
  }
}

function hashOfPrefix(sizeBytes: number): Hash {
  const known = hashedPrefixes.get(sizeBytes)
  if (known !== undefined) return known
  const hash = createHash('sha256')
  for (const block of readPrefix(0, sizeBytes)) hash.update(block)
  hashedPrefixes.set(sizeBytes, hash)
  return hash
}
