import {
  type Digest,
  digestAlgorithm,
  type Manifest,
  parseManifest,
  type Reference,
  RegistryError,
} from '@entrepot/oci'
import { type Blobs, digestOf } from '#core/blobs'
import { ensureRepository, findRepositoryId, publishRepository, type RepositoryId } from '#core/repositories'
import type { Connection, Database, Transaction } from '#platform/database'
import type { InventoryKeeper } from './inventory-keeping.ts'
import { type CheckedChildren, checkChildren, checkUrls, type ManifestPolicy } from './manifest-checks.ts'
import { findManifest, insertManifest, type NewManifest } from './manifest-rows.ts'
import { findTag, putTags } from './tag-rows.ts'
import { forgetPushed } from './trash-rows.ts'
import { deleteUntagged } from './untagged-rows.ts'

export interface ManifestDependencies {
  readonly database: Database
  readonly blobs: Blobs
  readonly policy: ManifestPolicy
  /** What says in the store which manifests and tags there are; undefined where nothing does. */
  readonly inventory: InventoryKeeper | undefined
}

export interface ManifestPush {
  readonly repository: string
  readonly reference: Reference
  /** Tags besides the reference, which is then a digest. */
  readonly tags: readonly string[]
  readonly contentType: string | undefined
  readonly bytes: Buffer
  /** Refuses the push, by throwing, for what the tag stands for now; from `If-Match` and `If-None-Match`. */
  readonly checkCurrent: (current: Digest | undefined) => void
}

export interface PushedManifest {
  readonly digest: Digest
  readonly subject: string | undefined
  /** What the person who pushed should know, though it was accepted. */
  readonly warnings: readonly string[]
}

/**
 * Stores a manifest and lets its tags stand for it, all or nothing.
 * @throws RegistryError MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, and what `checkCurrent` throws
 */
export async function pushManifest(dependencies: ManifestDependencies, push: ManifestPush): Promise<PushedManifest> {
  const { database, blobs, policy } = dependencies
  const digest = verifyDigest(push)
  const manifest = parseManifest(push.bytes, push.contentType)
  checkUrls(manifest, policy)
  const tags = 'tag' in push.reference ? [push.reference.tag, ...push.tags] : push.tags
  // Before anything is written, so that a refused manifest leaves no trace; once more below, where nothing can change.
  const repositoryId = await findRepositoryId(database.read, push.repository)
  const { absent } = await checkChildren({ connection: database.read, blobs, repositoryId }, manifest, policy)
  await checkCurrentTag(database.read, repositoryId, push)

  await blobs.store(digest, push.bytes, async (transaction) => {
    const repositoryId = await ensureRepository(transaction, push.repository)
    const children = await checkChildren({ connection: transaction, blobs, repositoryId }, manifest, policy)
    await checkCurrentTag(transaction, repositoryId, push)
    const sizeBytes = push.bytes.byteLength
    await recordManifest(transaction, repositoryId, { digest, sizeBytes, manifest, children, tags })
  })
  await dependencies.inventory?.settle(push.repository, { manifests: [digest], tags })
  return { digest, subject: manifest.subject, warnings: absent === 0 ? [] : [absentChildren(manifest, absent)] }
}

/**
 * Makes a manifest known, and lets tags stand for it. Its children were looked at in the same transaction, and its bytes
 * are stored.
 */
export async function recordManifest(
  transaction: Transaction,
  repositoryId: RepositoryId,
  stored: {
    digest: Digest
    sizeBytes: number
    manifest: Manifest
    children: CheckedChildren
    tags: readonly string[]
  },
): Promise<void> {
  const { digest, sizeBytes, manifest, children, tags } = stored
  await insertManifest(transaction, repositoryId, toRow(digest, sizeBytes, manifest, children), children.digests)
  await putTags(transaction, repositoryId, tags, digest)
  await forgetPushed(transaction, repositoryId, digest, tags)
  // Whoever lists a manifest in an index means to keep it.
  const listed = manifest.kind === 'index' ? children.digests : []
  await deleteUntagged(transaction, repositoryId, [digest, ...listed])
  await publishRepository(transaction, repositoryId)
}

/** The id of a repository that must exist. @throws RegistryError NAME_UNKNOWN */
export async function requireRepository(connection: Connection, name: string): Promise<RepositoryId> {
  const id = await findRepositoryId(connection, name)
  if (id !== undefined) return id
  throw new RegistryError('NAME_UNKNOWN', `there is no repository "${name}"`, { detail: { name } })
}

/** What is needed by something else stays until that is gone. */
export function inUse(message: string, parent: Digest): RegistryError {
  return new RegistryError('UNSUPPORTED', message, { detail: { neededBy: parent } })
}

function verifyDigest(push: ManifestPush): Digest {
  if ('tag' in push.reference) return digestOf('sha256', push.bytes)
  const { digest } = push.reference
  const actual = digestOf(digestAlgorithm(digest), push.bytes)
  if (actual === digest) return digest
  throw new RegistryError('DIGEST_INVALID', `the manifest's digest is ${actual}, not ${digest}`, {
    detail: { digest, actual },
  })
}

async function checkCurrentTag(
  connection: Connection,
  repositoryId: RepositoryId | undefined,
  push: ManifestPush,
): Promise<void> {
  if (repositoryId === undefined) {
    push.checkCurrent(undefined)
  } else if ('tag' in push.reference) {
    push.checkCurrent(await findTag(connection, repositoryId, push.reference.tag))
  } else {
    push.checkCurrent((await findManifest(connection, repositoryId, push.reference.digest))?.digest)
  }
}

function absentChildren(manifest: Manifest, absent: number): string {
  return manifest.kind === 'image'
    ? `${absent} of the layers may be kept elsewhere, and are: this repository cannot serve them`
    : `${absent} of the manifests that this index lists are not in this repository`
}

function toRow(digest: Digest, sizeBytes: number, manifest: Manifest, children: CheckedChildren): NewManifest {
  const annotations = manifest.subject === undefined ? undefined : manifest.annotations
  return {
    digest,
    sizeBytes,
    mediaType: manifest.mediaType,
    artifactType: manifest.artifactType,
    subject: manifest.subject,
    annotations: annotations === undefined ? undefined : JSON.stringify(annotations),
    nesting: children.nesting,
  }
}

export function manifestUnknown(message: string, detail: unknown): RegistryError {
  return new RegistryError('MANIFEST_UNKNOWN', message, { detail })
}
