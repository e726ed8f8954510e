import type { Bucket, OpenMultipart, StoredPart } from './bucket.ts'
import { completeObject } from './complete-object.ts'
import { ObjectReader } from './object-reader.ts'

const MIB = 1024 * 1024
/** All parts but the last must have so much (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). */
const MIN_PART_BYTES = 5 * MIB
/** What the store copies in one request at most. */
const COPY_BYTES = 256 * MIB
/** Parts that are made at once. */
const MAX_AT_ONCE = 3

/** Bytes of an object. */
export interface Piece {
  readonly key: string
  readonly start: number
  readonly sizeBytes: number
}

/** A part of a new object: a piece that the store copies, or pieces too small for that, which are read and sent. */
type Part = { readonly copied: Piece } | { readonly sent: Piece[] }

/**
 * Makes one object of several, one after the other. The store copies what is large enough to be a part; of the rest less
 * than 10 MiB at a time pass through here.
 * @param key of the new object, which no other one has.
 * @throws ObjectStoreError
 */
export async function composeObject(bucket: Bucket, key: string, pieces: readonly Piece[]): Promise<void> {
  const multipart = await bucket.beginMultipart(key, true)
  try {
    const waiting = planParts(pieces).entries()
    const stored: StoredPart[] = []
    const work = async () => {
      for (const [index, part] of waiting) stored.push(await putPart(bucket, multipart, index + 1, part))
    }
    await Promise.all(Array.from({ length: MAX_AT_ONCE }, work))
    const parts = stored.toSorted((a, b) => a.number - b.number)
    await completeObject(bucket, multipart, { parts, sizeBytes: sizeOf(pieces) })
  } catch (error) {
    await bucket.abortMultipart(multipart).catch(() => {})
    throw error
  }
}

/** Every part but the last has the bytes that it must have: a piece that is too small takes some of the next one. */
function planParts(pieces: readonly Piece[]): Part[] {
  const parts: Part[] = []
  let sent: Piece[] = []
  const flush = () => {
    if (sent.length > 0) parts.push({ sent })
    sent = []
  }
  for (const piece of pieces) {
    const lacking = sent.length === 0 ? 0 : Math.max(0, MIN_PART_BYTES - sizeOf(sent))
    const [head, rest] = cut(piece, lacking)
    if (head.sizeBytes > 0) sent.push(head)
    if (sizeOf(sent) >= MIN_PART_BYTES) flush()
    if (rest.sizeBytes >= MIN_PART_BYTES) parts.push(...split(rest).map((copied) => ({ copied })))
    else if (rest.sizeBytes > 0) sent.push(rest)
  }
  flush()
  return parts
}

/** Cuts a piece after so many bytes, or at its end. */
function cut({ key, start, sizeBytes }: Piece, bytes: number): [Piece, Piece] {
  const taken = Math.min(bytes, sizeBytes)
  return [
    { key, start, sizeBytes: taken },
    { key, start: start + taken, sizeBytes: sizeBytes - taken },
  ]
}

/** Pieces of about the same size, none larger than what is copied in one request. */
function split(piece: Piece): Piece[] {
  const count = Math.ceil(piece.sizeBytes / COPY_BYTES)
  const pieces: Piece[] = []
  let rest = piece
  for (let left = count; left > 0; left--) {
    const [head, tail] = cut(rest, Math.ceil(rest.sizeBytes / left))
    pieces.push(head)
    rest = tail
  }
  return pieces
}

async function putPart(bucket: Bucket, multipart: OpenMultipart, number: number, part: Part): Promise<StoredPart> {
  if ('copied' in part) return bucket.copyPart(multipart, number, part.copied)
  const body = new Uint8Array(sizeOf(part.sent))
  let filled = 0
  for (const { key, start, sizeBytes } of part.sent) {
    const reader = new ObjectReader(bucket, { key, sizeBytes: start + sizeBytes, etag: '' })
    try {
      filled += await reader.read(body.subarray(filled, filled + sizeBytes), start)
    } finally {
      reader.close()
    }
  }
  return bucket.putPart(multipart, number, body)
}

function sizeOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}
