const KIB = 1024

/** More transfers than this get smaller buffers, so that all together need a bounded amount of memory. */
const SIZES: readonly { readonly upTo: number; readonly bytes: number }[] = [
  { upTo: 8, bytes: 1024 * KIB },
  { upTo: 64, bytes: 256 * KIB },
  { upTo: Number.POSITIVE_INFINITY, bytes: 64 * KIB },
]
const MAX_KEPT_BYTES = 16 * 1024 * KIB

/** Buffers for reading files, used again and again: making one costs more than filling it. */
export class BufferPool {
  readonly #free = new Map<number, Buffer[]>()
  #keptBytes = 0
  #taken = 0

  /**
   * A buffer whose size depends on how many are in use; what it holds is left over from others.
   * @param neededBytes no more is of use.
   */
  take(neededBytes = Number.POSITIVE_INFINITY): Buffer {
    this.#taken++
    const allowed = SIZES.find(({ upTo }) => this.#taken <= upTo)?.bytes ?? 0
    const size = SIZES.findLast(({ bytes }) => bytes >= Math.min(neededBytes, allowed))?.bytes ?? 64 * KIB
    const kept = this.#free.get(size)?.pop()
    if (kept === undefined) return Buffer.allocUnsafeSlow(size)
    this.#keptBytes -= size
    return kept
  }

  /** Leaves a buffer, which something may still be using, to the garbage collector. */
  forget(): void {
    this.#taken--
  }

  /** Gives a buffer back, which nothing may be using any more. */
  giveBack(buffer: Buffer): void {
    this.#taken--
    if (this.#keptBytes + buffer.byteLength > MAX_KEPT_BYTES) return
    this.#keptBytes += buffer.byteLength
    const free = this.#free.get(buffer.byteLength) ?? []
    free.push(buffer)
    this.#free.set(buffer.byteLength, free)
  }
}
