import type { Socket } from 'node:net'

/** RWF_NOWAIT of preadv2(2): fails rather than wait for the disk. */
const NO_WAIT = 8

/** Where things are in the memory shared with the kernel: an iovec (readv(2)), an off_t, the bytes that are read. */
const VECTOR_AT = 0
const OFFSET_AT = 64
const BYTES_AT = 128
const MAX_READ_BYTES = 4 * 1024

/** Lets the kernel move bytes from a file to a connection, without a copy into this process. */
export interface KernelSend {
  /** Whether the byte at a position is in the page cache, so that sending it does not wait for the disk. */
  isCached(file: number, position: number): boolean
  /**
   * Reads what is in the page cache, 4 KiB at most, without waiting for the disk.
   * @returns undefined when nothing is, or anything is wrong.
   */
  readCached(file: number, position: number, length: number): Buffer | undefined
  /**
   * Sends what the connection takes at once (sendfile(2)).
   * @returns the number of bytes; 0 or less when it takes nothing now, or anything else is wrong.
   */
  send(connection: number, file: number, position: number, length: number): number
}

/**
 * Finds out whether the kernel can be used: Linux, and a Node.js whose foreign functions work.
 * @returns undefined where it cannot; sending then reads and writes.
 */
export async function findKernelSend(): Promise<KernelSend | undefined> {
  if (process.platform !== 'linux') return undefined
  try {
    const { dlopen, getRawPointer } = await import('node:ffi')
    const { functions } = dlopen(null, {
      sendfile: { arguments: ['i32', 'i32', 'u64', 'u64'], return: 'i64' },
      preadv2: { arguments: ['i32', 'u64', 'i32', 'i64', 'i32'], return: 'i64' },
    })
    // Of memory that the kernel writes to, the address must never change: small typed arrays of their own are moved by
    // the garbage collector, an ArrayBuffer's bytes are not, as long as somebody holds it.
    const memory = new ArrayBuffer(BYTES_AT + MAX_READ_BYTES)
    const address = getRawPointer(memory)
    const vector = new BigUint64Array(memory, VECTOR_AT, 2)
    const offset = new BigInt64Array(memory, OFFSET_AT, 1)
    const bytes = Buffer.from(memory, BYTES_AT)
    const readNow = (file: number, position: number, length: number) => {
      vector.set([address + BigInt(BYTES_AT), BigInt(length)])
      return Number(functions.preadv2(file, address + BigInt(VECTOR_AT), 1, BigInt(position), NO_WAIT))
    }
    return {
      isCached: (file, position) => readNow(file, position, 1) === 1,
      readCached: (file, position, length) => {
        const count = readNow(file, position, Math.min(length, MAX_READ_BYTES))
        return count > 0 ? Buffer.from(bytes.subarray(0, count)) : undefined
      },
      send: (connection, file, position, length) => {
        offset[0] = BigInt(position)
        return Number(functions.sendfile(connection, file, address + BigInt(OFFSET_AT), BigInt(length)))
      },
    }
  } catch {
    return undefined
  }
}

/**
 * The number under which the kernel knows a connection. Undefined in any doubt: an encrypted one must never be sent
 * bytes past its encryption, and one that still has something to write must write that first.
 */
export function descriptorOf(socket: Socket | null): number | undefined {
  if (socket === null || socket.destroyed || socket.writableLength > 0 || 'encrypted' in socket) return undefined
  const handle: unknown = Reflect.get(socket, '_handle')
  const descriptor: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined
}
