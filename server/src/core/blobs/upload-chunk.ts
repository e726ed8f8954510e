import { freeChunk } from './free-chunk.ts'
import { wrongLength } from './upload-refusals.ts'

/** Bytes that are to be appended to an upload. */
export interface UploadChunk {
  readonly bytes: AsyncIterable<Uint8Array>
  /** Where the client says they begin; undefined when it does not say. */
  readonly start: number | undefined
  /** How many the client says there are; undefined when it does not say. */
  readonly length: number | undefined
}

/** The bytes of a chunk. @throws RegistryError SIZE_INVALID when there are more than were announced. */
export async function* bytesOf({ bytes, length }: UploadChunk): AsyncIterable<Uint8Array> {
  let room = length ?? Number.MAX_SAFE_INTEGER
  for await (const piece of bytes) {
    room -= piece.byteLength
    if (room < 0) throw wrongLength()
    yield piece
  }
}

/** Receives bytes that are stored already: the client must get to read the answer. */
export async function drop({ bytes }: UploadChunk): Promise<void> {
  for await (const chunk of bytes) freeChunk(chunk)
}
