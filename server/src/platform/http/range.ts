/** Bytes from `start` up to and including `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

const BYTES_UNIT = /^bytes=/i
const SINGLE_RANGE = /^bytes=[ \t]*(\d{0,40})-(\d{0,40})[ \t]*$/i

/**
 * Reads a `Range` header (RFC 9110, section 14.2).
 * @returns the range; `unsatisfiable` when it lies outside or is malformed; undefined when the whole content is the right
 * answer: no header, another unit, or several ranges, which a server may ignore.
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  if (header === undefined || !BYTES_UNIT.test(header) || header.includes(',')) return undefined
  const [, first = '', last = ''] = SINGLE_RANGE.exec(header) ?? []
  if (first === '') {
    const suffixBytes = Number(last)
    // Without a digit anywhere this is 0 too.
    if (suffixBytes === 0 || sizeBytes === 0) return 'unsatisfiable'
    return { start: Math.max(0, sizeBytes - suffixBytes), end: sizeBytes - 1 }
  }
  const start = Number(first)
  const end = last === '' ? Number.MAX_SAFE_INTEGER : Number(last)
  if (end < start || start >= sizeBytes) return 'unsatisfiable'
  return { start, end: Math.min(end, sizeBytes - 1) }
}
