/** A chunk costs some hundred bytes of memory besides its own: smaller ones than this are joined. */
const SMALL_BYTES = 4 * 1024
const BLOCK_BYTES = 16 * 1024

/** Joins small chunks, so that a body that comes byte by byte needs no more memory than any other. */
export class JoinedChunks {
  #block: Buffer | undefined
  #joinedBytes = 0

  /** Takes a chunk; gives those that are ready, in order: none while small ones are joined. */
  add(chunk: Uint8Array): readonly Uint8Array[] {
    if (chunk.byteLength >= SMALL_BYTES) return [...this.rest(), chunk]
    const ready = this.#joinedBytes + chunk.byteLength > BLOCK_BYTES ? this.rest() : []
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES)
    this.#block.set(chunk, this.#joinedBytes)
    this.#joinedBytes += chunk.byteLength
    return ready
  }

  /** What was joined so far, if anything was. */
  rest(): readonly Uint8Array[] {
    if (this.#block === undefined) return []
    const joined = this.#block.subarray(0, this.#joinedBytes)
    this.#block = undefined
    this.#joinedBytes = 0
    return [joined]
  }
}
