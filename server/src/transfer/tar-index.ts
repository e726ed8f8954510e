import type { FileHandle } from 'node:fs/promises'

const BLOCK_BYTES = 512
/** Names and sizes that a header has no room for come in records of this size at most. */
const MAX_RECORD_BYTES = 64 * 1024
const MAX_LINKS = 16
const GZIP_MAGIC = 0x1f8b

/** Where the bytes of a file in an archive are. */
export interface TarEntry {
  readonly offset: number
  readonly sizeBytes: number
}

/**
 * Finds the files in a tar archive without reading them (POSIX.1-2017, "pax Interchange Format", and GNU's long names).
 * Links, which Docker uses for layers that several images have, lead to the file they name.
 * @throws when it is no tar archive, or is cut off.
 */
export class TarIndex {
  readonly #entries = new Map<string, TarEntry>()
  readonly #links = new Map<string, string>()

  static async read(file: FileHandle): Promise<TarIndex> {
    const index = new TarIndex()
    const { size } = await file.stat()
    let long: { path?: string; size?: number; linkpath?: string } = {}
    for (let position = 0; ;) {
      const header = await readExactly(file, position, BLOCK_BYTES)
      if (position === 0 && header.readUInt16BE(0) === GZIP_MAGIC) throw new Error('it is compressed: gunzip it first')
      if (header.every((byte) => byte === 0)) return index
      checkSum(header)
      const sizeBytes = long.size ?? readNumber(header.subarray(124, 136))
      const offset = position + BLOCK_BYTES
      position = offset + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES
      if (!Number.isSafeInteger(position) || offset + sizeBytes > size) throw new Error('the tar archive is cut off')
      const type = String.fromCodePoint(header[156] ?? 0)
      if ('xLK'.includes(type)) {
        if (sizeBytes > MAX_RECORD_BYTES) throw new Error('the tar archive has a name that is too long')
        const record = await readExactly(file, offset, sizeBytes)
        long = { ...long, ...(type === 'x' ? readPax(record) : readLongName(record, type)) }
        continue
      }
      const name = normalize(long.path ?? nameOf(header))
      const link = long.linkpath ?? text(header.subarray(157, 257))
      if (type === '0' || type === '\0') index.#entries.set(name, { offset, sizeBytes })
      else if (type === '2') index.#links.set(name, normalize(`${name}/../${link}`))
      else if (type === '1') index.#links.set(name, normalize(link))
      long = {}
    }
  }

  /** The file of a name; undefined where there is none. */
  find(name: string): TarEntry | undefined {
    let current = normalize(name)
    for (let step = 0; step < MAX_LINKS; step++) {
      const entry = this.#entries.get(current)
      if (entry !== undefined) return entry
      const next = this.#links.get(current)
      if (next === undefined) return undefined
      current = next
    }
    return undefined
  }
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled)
    if (bytesRead === 0) throw new Error('it is no tar archive, or is cut off')
    filled += bytesRead
  }
  return buffer
}

function checkSum(header: Buffer): void {
  const sum = header.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 0x20 : byte), 0)
  if (sum !== readNumber(header.subarray(148, 156))) throw new Error('it is no tar archive')
}

/** Octal digits or, from 8 GiB on, GNU's big-endian bytes. */
function readNumber(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(text(field).trim() || '0', 8)
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, (field[0] ?? 0) & 0x7f)
}

function nameOf(header: Buffer): string {
  const name = text(header.subarray(0, 100))
  const isPosix = header.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isPosix ? text(header.subarray(345, 500)) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

/** `<length> <key>=<value>\n`, again and again. */
function readPax(record: Buffer): { path?: string; size?: number; linkpath?: string } {
  const found: { path?: string; size?: number; linkpath?: string } = {}
  for (let position = 0; position < record.length;) {
    const space = record.indexOf(0x20, position)
    const length = Number(record.toString('latin1', position, space))
    if (space < 0 || !(length > 0)) throw new Error('the tar archive has a wrong record')
    const [key = '', ...value] = record.toString('utf8', space + 1, position + length - 1).split('=')
    if (key === 'path') found.path = value.join('=')
    if (key === 'linkpath') found.linkpath = value.join('=')
    if (key === 'size') found.size = Number(value.join('='))
    position += length
  }
  return found
}

function readLongName(record: Buffer, type: string): { path?: string; linkpath?: string } {
  return type === 'L' ? { path: text(record) } : { linkpath: text(record) }
}

function text(field: Buffer): string {
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end < 0 ? field.length : end)
}

function normalize(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/')
}
