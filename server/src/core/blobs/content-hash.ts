import { createHash } from 'node:crypto'
import type { Digest, DigestAlgorithm } from '@entrepot/oci'

/** The digest of bytes that are at hand. */
export function digestOf(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** A digest in the making; reading it does not end it, so that an upload can go on after a failed attempt. */
export class ContentHash {
  readonly algorithm: DigestAlgorithm
  #hash
  #sizeBytes = 0

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm
    this.#hash = createHash(algorithm)
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    this.#sizeBytes += chunk.byteLength
  }

  /** The same digest in the making once more: what one is given later the other does not know. */
  copy(): ContentHash {
    const copy = new ContentHash(this.algorithm)
    copy.#hash = this.#hash.copy()
    copy.#sizeBytes = this.#sizeBytes
    return copy
  }

  digest(): Digest {
    return `${this.algorithm}:${this.#hash.copy().digest('hex')}`
  }
}
