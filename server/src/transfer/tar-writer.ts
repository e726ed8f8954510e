const BLOCK_BYTES = 512
/** What octal digits have room for; more is written in binary, as GNU does. */
const MAX_OCTAL_SIZE = 0o77777777777
const MODE = '0000644'

/** What stands before a file in a tar archive (POSIX.1-2017, "ustar Interchange Format"). @param name up to 100 bytes */
export function tarHeader(name: string, sizeBytes: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES)
  header.write(name, 0, 100, 'utf8')
  header.write(MODE, 100)
  header.write('0000000', 108)
  header.write('0000000', 116)
  if (sizeBytes <= MAX_OCTAL_SIZE) header.write(sizeBytes.toString(8).padStart(11, '0'), 124)
  else {
    header.writeUInt8(0x80, 124)
    header.writeBigUInt64BE(BigInt(sizeBytes), 128)
  }
  header.write('00000000000', 136)
  header.write('        ', 148)
  header.write('0', 156)
  header.write('ustar\u000000', 257, 'latin1')
  const sum = header.reduce((sum, byte) => sum + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** What follows a file, up to the next block. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES)
}

/** What an archive ends with. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK_BYTES)
}
