import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, isDigest, type Manifest, parseManifest, type Reference, RegistryError } from '@entrepot/oci'
import { findRepositoryName, type RepositoryId } from '#core/repositories'
import type { Connection, Database, Transaction } from '#platform/database'
import { checkChildren } from './manifest-checks.ts'
import { findManifest, type ManifestRow } from './manifest-rows.ts'
import { type ManifestDependencies, manifestUnknown, requireRepository } from './manifests.ts'
import { findTag } from './tag-rows.ts'
import { deleteTrashRows, hasTrashBefore, listTrashRows, type TrashPosition } from './trash-list-rows.ts'
import {
  type DeletionReason,
  findDeletedChildren,
  findDeletedManifests,
  findDeletedTag,
  findTagsOfDeleted,
  moveManifestBack,
  moveTagBack,
} from './trash-rows.ts'

/** Rows forgotten in one step; between steps others get their turn. */
const FORGET_SIZE = 200
const PAUSE_MS = 5

/** A deleted manifest, or a deleted tag of one. */
export interface TrashEntry {
  readonly repository: string
  readonly digest: Digest
  readonly tag?: string
  readonly mediaType?: string
  readonly sizeBytes?: number
  /** RFC 3339, in UTC. */
  readonly deletedAt: string
  readonly reason: DeletionReason
}

export interface TrashPage {
  readonly entries: readonly TrashEntry[]
  /** What to ask for to get the next page; undefined on the last. */
  readonly next: string | undefined
}

/** What came back. */
export interface Restored {
  readonly digest: Digest
  /** Manifests that came back out of the trash; those that an index lists before it. */
  readonly manifests: readonly Digest[]
  readonly tags: readonly string[]
  /** Tags that stand for something else by now, and were left so. */
  readonly takenTags: readonly string[]
}

/** How much was forgotten. */
export interface ForgottenTrash {
  readonly manifests: number
  readonly tags: number
}

/**
 * Lists what rests in the trash: each manifest, followed by the tags that stood for it.
 * @param query.repository undefined lists all repositories.
 * @param query.after `next` of the page before.
 * @throws RegistryError NAME_UNKNOWN, PAGINATION_NUMBER_INVALID for a position that is none
 */
export async function listTrash(
  connection: Connection,
  query: { repository: string | undefined; after: string | undefined; limit: number },
): Promise<TrashPage> {
  const { repository, after, limit } = query
  const repositoryId = repository === undefined ? undefined : await requireRepository(connection, repository)
  const position = after === undefined ? undefined : parsePosition(after)
  const found = await listTrashRows(connection, { repositoryId, after: position, limit: limit + 1 })
  const rows = found.slice(0, limit)
  const names = new Map<RepositoryId, string>()
  for (const row of rows) {
    if (names.has(row.repositoryId)) continue
    names.set(row.repositoryId, (await findRepositoryName(connection, row.repositoryId)) ?? '')
  }
  const last = rows.at(-1)
  return {
    entries: rows.map((row) => ({
      repository: names.get(row.repositoryId) ?? '',
      digest: row.digest,
      ...(row.tag !== '' && { tag: row.tag }),
      ...(row.mediaType !== null && { mediaType: row.mediaType }),
      ...(row.sizeBytes !== null && { sizeBytes: row.sizeBytes }),
      deletedAt: new Date(row.deletedAt).toISOString(),
      reason: row.reason,
    })),
    next: found.length > limit && last !== undefined ? formatPosition(last) : undefined,
  }
}

const formatPosition = ({ repositoryId, digest, tag }: TrashPosition) => `${repositoryId}/${digest}/${tag}`

function parsePosition(text: string): TrashPosition {
  const [id = '', digest = '', tag = ''] = text.split('/')
  if (/^\d{1,15}$/.test(id) && isDigest(digest)) return { repositoryId: Number(id), digest, tag }
  throw new RegistryError('PAGINATION_NUMBER_INVALID', 'there is no such page; begin with the first one')
}

/**
 * Brings a deleted tag or manifest back. A manifest comes with the tags that went with it and are still free, and with
 * the manifests that it lists and that were deleted, too. A tag comes alone, with its manifest if that was deleted.
 * @param request.asTag another name for the tag; its own name may stand for something else by now.
 * @throws RegistryError NAME_UNKNOWN; MANIFEST_UNKNOWN when it does not rest; MANIFEST_BLOB_UNKNOWN when something that it
 * needs is gone; TAG_INVALID (409) when the tag is taken; UNSUPPORTED (409) when what was read has changed meanwhile
 */
export async function restoreFromTrash(
  dependencies: ManifestDependencies,
  request: { repository: string; reference: Reference; asTag: string | undefined },
): Promise<Restored> {
  const { database } = dependencies
  const { repository, reference, asTag } = request
  const repositoryId = await requireRepository(database.read, repository)
  const digest = await findTarget(database.read, repositoryId, reference)
  const contents = await readContents(
    dependencies,
    repositoryId,
    await collectDeleted(database.read, repositoryId, digest),
  )
  const restored = await database.transaction(async (transaction) => {
    // Once more, where nothing can change.
    if ((await findTarget(transaction, repositoryId, reference)) !== digest) throw changedMeanwhile()
    const manifests = await restoreManifests(transaction, dependencies, { repositoryId, digest, contents })
    if ('tag' in reference) {
      const { tag: name } = reference
      await restoreTag(transaction, repositoryId, { digest, name }, asTag ?? name)
      return { digest, manifests, tags: [asTag ?? name], takenTags: [] }
    }
    return { digest, manifests, ...(await restoreTags(transaction, repositoryId, digest)) }
  })
  await dependencies.inventory?.settle(repository, restored)
  return restored
}

/** The manifest that is to be there afterwards. */
async function findTarget(connection: Connection, repositoryId: RepositoryId, reference: Reference): Promise<Digest> {
  if ('tag' in reference) {
    const digest = await findDeletedTag(connection, repositoryId, reference.tag)
    if (digest !== undefined) return digest
    throw manifestUnknown(`the trash has no tag "${reference.tag}" of this repository`, reference)
  }
  const { digest } = reference
  if ((await findDeletedManifests(connection, repositoryId, [digest])).length > 0) return digest
  throw manifestUnknown(`the trash has no manifest ${digest} of this repository`, reference)
}

/** A deleted manifest after all deleted ones that it lists; nothing when it was not deleted. */
async function collectDeleted(
  connection: Connection,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<ManifestRow[]> {
  const ordered = new Map<Digest, ManifestRow>()
  // Indexes nest only so deep as a push allows.
  const visit = async (row: ManifestRow): Promise<void> => {
    for (const child of await findDeletedChildren(connection, repositoryId, row.digest)) {
      if (!ordered.has(child.digest)) await visit(child)
    }
    ordered.set(row.digest, row)
  }
  for (const row of await findDeletedManifests(connection, repositoryId, [digest])) await visit(row)
  return [...ordered.values()]
}

/** Reads and verifies the manifests, so that nothing comes back that could not be pulled. */
async function readContents(
  { database, blobs }: ManifestDependencies,
  repositoryId: RepositoryId,
  rows: readonly ManifestRow[],
): Promise<ReadonlyMap<Digest, Manifest>> {
  const contents = new Map<Digest, Manifest>()
  for (const { digest, sizeBytes, mediaType } of rows) {
    const bytes = await blobs.load(digest, sizeBytes)
    if (bytes === undefined) {
      const isStillDeleted = (await findDeletedManifests(database.read, repositoryId, [digest])).length > 0
      if (!isStillDeleted) throw changedMeanwhile()
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', `the bytes of ${digest} are lost or damaged; push it again`, {
        detail: { digests: [digest] },
      })
    }
    contents.set(digest, parseManifest(bytes, mediaType))
  }
  return contents
}

async function restoreManifests(
  transaction: Transaction,
  { blobs, policy }: ManifestDependencies,
  what: { repositoryId: RepositoryId; digest: Digest; contents: ReadonlyMap<Digest, Manifest> },
): Promise<Digest[]> {
  const { repositoryId, digest, contents } = what
  const rows = await collectDeleted(transaction, repositoryId, digest)
  for (const row of rows) {
    const manifest = contents.get(row.digest)
    if (manifest === undefined) throw changedMeanwhile()
    // As for a push: what it needs may have been deleted on its own.
    await checkChildren({ connection: transaction, blobs, repositoryId }, manifest, policy)
    await moveManifestBack(transaction, repositoryId, row.digest)
  }
  // A tag can outlive its manifest where that was deleted while the trash was off.
  if ((await findManifest(transaction, repositoryId, digest)) === undefined) {
    throw manifestUnknown(`the manifest ${digest} is gone; push it again`, { digest })
  }
  return rows.map((row) => row.digest)
}

async function restoreTag(
  transaction: Transaction,
  repositoryId: RepositoryId,
  tag: { digest: Digest; name: string },
  asName: string,
): Promise<void> {
  const current = await findTag(transaction, repositoryId, asName)
  if (current !== undefined && current !== tag.digest) {
    throw new RegistryError(
      'TAG_INVALID',
      `the tag "${asName}" stands for ${current} now; restore it under another name ("--as <tag>")`,
      { status: 409, detail: { tag: asName, digest: current } },
    )
  }
  await moveTagBack(transaction, repositoryId, tag, asName)
}

/** Restores the tags that went with a manifest, but for those that stand for something else by now. */
async function restoreTags(transaction: Transaction, repositoryId: RepositoryId, digest: Digest) {
  const tags: string[] = []
  const takenTags: string[] = []
  for (const name of await findTagsOfDeleted(transaction, repositoryId, digest)) {
    if ((await findTag(transaction, repositoryId, name)) !== undefined) {
      takenTags.push(name)
      continue
    }
    await moveTagBack(transaction, repositoryId, { digest, name }, name)
    tags.push(name)
  }
  return { tags, takenTags }
}

function changedMeanwhile(): RegistryError {
  return new RegistryError('UNSUPPORTED', 'the trash was changed meanwhile; try again', { status: 409 })
}

/**
 * Forgets what rests, in steps; what it needed is then garbage.
 * @param which.before only what was deleted before this time (milliseconds since 1970).
 * @param which.repository undefined means all repositories.
 * @param isEnding asked before each step, to stop early.
 * @throws RegistryError NAME_UNKNOWN
 */
export async function forgetTrash(
  database: Database,
  which: { before: number; repository: string | undefined },
  isEnding: () => boolean = () => false,
): Promise<ForgottenTrash> {
  const { before, repository } = which
  const repositoryId = repository === undefined ? undefined : await requireRepository(database.read, repository)
  const sum = { manifests: 0, tags: 0 }
  while (!isEnding()) {
    // Most runs find nothing, and need no transaction to see that.
    if (!(await hasTrashBefore(database.read, { before, repositoryId }))) return sum
    const step = await database.transaction(async (transaction) =>
      deleteTrashRows(transaction, { before, repositoryId }, FORGET_SIZE),
    )
    sum.manifests += step.manifests
    sum.tags += step.tags
    await sleep(PAUSE_MS)
  }
  return sum
}
