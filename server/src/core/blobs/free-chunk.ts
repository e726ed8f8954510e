/**
 * Gives a chunk's memory back at once. Left to the garbage collector, which sees how much there is and not how short it
 * lives, the chunks of a fast upload make it go over the whole heap many times a second.
 */
export function freeChunk(chunk: Uint8Array): void {
  const { buffer } = chunk
  // What is smaller may share its memory with others.
  if (buffer instanceof ArrayBuffer && chunk.byteLength === buffer.byteLength) buffer.transfer(0)
}
