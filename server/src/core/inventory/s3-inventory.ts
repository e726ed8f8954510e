import { type Digest, digestAlgorithm, digestHex, isDigest, isTag } from '@entrepot/oci'
import type { Bucket } from '#platform/s3'
import type { Inventory, InventoryEntry } from './inventory.ts'

const FOLDER = 'repositories/'
const MANIFEST = /^repositories\/(.+)\/_manifests\/([^/]+)\/([^/]+)$/
const TAG = /^repositories\/(.+)\/_tags\/([^/]+)\/([^/]+)\/([^/]+)$/

/**
 * The inventory in a bucket: empty objects whose names say everything, beside those of `S3Store`. No part of a
 * repository's name begins with an underscore.
 *
 *     repositories/<repository>/_manifests/<algorithm>/<hexadecimal digest>
 *     repositories/<repository>/_tags/<tag>/<algorithm>/<hexadecimal digest>
 */
export class S3Inventory implements Inventory {
  readonly #bucket: Bucket

  constructor(bucket: Bucket) {
    this.#bucket = bucket
  }

  async setManifest(repository: string, digest: Digest, isThere: boolean): Promise<void> {
    const key = `${FOLDER}${repository}/_manifests/${pathOf(digest)}`
    if (isThere) await this.#bucket.put(key, new Uint8Array())
    else await this.#bucket.delete([key])
  }

  async setTag(repository: string, tag: string, digest: Digest | undefined): Promise<void> {
    const folder = `${FOLDER}${repository}/_tags/${tag}/`
    const listed = await Array.fromAsync(this.#bucket.list(folder), ({ key }) => key)
    const wanted = digest === undefined ? undefined : folder + pathOf(digest)
    // The new name first: a tag is never without one.
    if (wanted !== undefined && !listed.includes(wanted)) await this.#bucket.put(wanted, new Uint8Array())
    await this.#bucket.delete(listed.filter((key) => key !== wanted))
  }

  async *entries(repository?: string): AsyncIterable<InventoryEntry> {
    const prefix = repository === undefined ? FOLDER : `${FOLDER}${repository}/_`
    for await (const { key, modifiedAt } of this.#bucket.list(prefix)) {
      const entry = parseKey(key)
      if (entry !== undefined) yield { ...entry, modifiedAt }
    }
  }
}

function pathOf(digest: Digest): string {
  return `${digestAlgorithm(digest)}/${digestHex(digest)}`
}

/** Undefined for a key that is no entry. */
function parseKey(key: string): Omit<InventoryEntry, 'modifiedAt'> | undefined {
  const [, repository = '', algorithm, hex] = MANIFEST.exec(key) ?? []
  const digest = `${algorithm}:${hex}`
  if (isDigest(digest)) return { repository, digest, tag: undefined }
  const [, owner = '', tag = '', tagAlgorithm, tagHex] = TAG.exec(key) ?? []
  const target = `${tagAlgorithm}:${tagHex}`
  return isDigest(target) && isTag(tag) ? { repository: owner, digest: target, tag } : undefined
}
