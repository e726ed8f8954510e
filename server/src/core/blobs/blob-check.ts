import { type Digest, isDigest, isDigestAlgorithm } from '@entrepot/oci'
import { type Checked, type Finding, finding, type FindingKind } from '#core/findings'
import { type DatabaseInspection, pagesOf } from '#platform/database'
import {
  findStoredRow,
  listMembershipRows,
  listStoredRows,
  listStoredRowsByDigest,
  listUploadRows,
  type MembershipRow,
  type OpenUploadRow,
  type StoredRow,
} from './blob-check-rows.ts'
import type { ContentInspector, ContentState } from './content-inspection.ts'
import { octal } from './folder-inspection.ts'
import type { BlobReferences } from './garbage-decisions.ts'
import { findWithoutMembership } from './garbage-rows.ts'

const PAGE_SIZE = 500
const UPLOAD_ID = /^[0-9a-f-]{36}$/
/** Content that comes and goes all the time is looked at so often; what does that is no damage. */
const MAX_LOOKS = 10
const RESTORE = 'restore a backup of the database'

export interface BlobCheck {
  readonly database: DatabaseInspection
  readonly inspector: ContentInspector
  readonly references: BlobReferences
  /** Hashes everything, not only what formats own, such as manifests. */
  readonly isDeep: boolean
  readonly checked: Checked
}

/** Looks at every row of blobs and uploads, and at the content that it promises. */
export async function* checkBlobRows(check: BlobCheck): AsyncGenerator<Finding> {
  yield* checkStored(check)
  for (const table of ['repository_blobs', 'unneeded_blobs'] as const) {
    const pages = pagesOf(async (after) => listMembershipRows(check.database.read, table, after, PAGE_SIZE))
    for await (const page of pages) for (const row of page) yield* checkMembership(table, row)
  }
  for await (const page of pagesOf(async (after) => listUploadRows(check.database.read, after, PAGE_SIZE))) {
    for (const row of page) yield* checkUpload(row)
    check.checked.uploads += page.length
  }
}

async function* checkStored(check: BlobCheck): AsyncGenerator<Finding> {
  const { database, references, isDeep, checked } = check
  const unused = { count: 0, sizeBytes: 0 }
  for await (const page of storedPages(check)) {
    const digests = page.map((row) => row.digest).filter((digest) => digest !== null && isDigest(digest))
    const owned = await references.findOwned(database.read, digests)
    const withoutMembership = new Set(await findWithoutMembership(database.read, digests))
    const looks: (() => Promise<Finding[]>)[] = []
    for (const row of page) {
      checked.blobs++
      const { digest, sizeBytes, createdAt } = row
      if (digest === null || !isDigest(digest) || !isCount(sizeBytes) || !isCount(createdAt)) {
        yield invalidRow('blobs', digest)
        continue
      }
      if (withoutMembership.has(digest) && !owned.has(digest)) {
        unused.count++
        unused.sizeBytes += sizeBytes
      }
      looks.push(async () =>
        Array.fromAsync(checkContent(check, digest, { row, isHashed: isDeep || owned.has(digest) })),
      )
    }
    for (let start = 0; start < looks.length; start += check.inspector.width) {
      const found = await Promise.all(looks.slice(start, start + check.inspector.width).map(async (look) => look()))
      yield* found.flat()
    }
  }
  if (unused.count > 0) {
    yield finding(
      'content-unused',
      `${unused.count} contents (${unused.sizeBytes} bytes) belong to no repository: the garbage collector removes them`,
    )
  }
}

/** The rows of stored content: in the order of the file, which damage disturbs the least, or in that of digests. */
async function* storedPages({ database, inspector }: BlobCheck): AsyncGenerator<StoredRow[]> {
  if (!inspector.isOrdered) {
    yield* pagesOf(async (after) => listStoredRows(database.read, after, PAGE_SIZE))
    return
  }
  for (let after: string | null | undefined = ''; typeof after === 'string';) {
    const page: StoredRow[] = await listStoredRowsByDigest(database.read, after, PAGE_SIZE)
    if (page.length > 0) yield page
    const last: string | null | undefined = page.at(-1)?.digest
    // An order that is damaged must not be followed for ever.
    after = typeof last === 'string' && last > after ? last : undefined
  }
}

/**
 * Looks at one content. A suspicion counts when the same row stands before and after the look: bytes come before their
 * row and go after it, so that they must then have been there.
 */
async function* checkContent(
  check: BlobCheck,
  digest: Digest,
  { row, isHashed }: { row: StoredRow; isHashed: boolean },
): AsyncGenerator<Finding> {
  let before: StoredRow | undefined = row
  for (let look = 0; look < MAX_LOOKS; look++) {
    const state: ContentState = await check.inspector.look(digest, before.sizeBytes ?? 0, isHashed)
    const found = describeState(digest, before.sizeBytes ?? 0, state)
    if (found === undefined) return
    const after = await findStoredRow(check.database.read, digest)
    if (after === undefined) return
    if (after.rowid === before.rowid && after.createdAt === before.createdAt) {
      yield found
      return
    }
    before = after
  }
}

const AGAIN = 'push it again, or restore the file from a backup'

/** What to say of content; undefined when all is well. */
function describeState(digest: Digest, sizeBytes: number, state: ContentState): Finding | undefined {
  if (state.kind === 'whole') return undefined
  const [kind, message] = sayOf(state, sizeBytes)
  return finding(kind, message, { digest })
}

function sayOf(state: Exclude<ContentState, { kind: 'whole' }>, sizeBytes: number): [FindingKind, string] {
  switch (state.kind) {
    case 'exposed':
      return [
        'permissions',
        `others on this machine may touch the file of this content (mode ${octal(state.mode)}): chmod -R go= the data folder`,
      ]
    case 'misnamed':
      return [
        'name-wrong',
        `the content is right, but its name ${state.name} says another size than ${state.sizeBytes} bytes: push it again`,
      ]
    case 'absent':
      return ['content-missing', `the store does not have this content of ${sizeBytes} bytes: ${AGAIN}`]
    case 'not-a-file':
      return [
        'content-not-a-file',
        `a folder or a link is where the file of this content should be: move it away with --quarantine, then ${AGAIN}`,
      ]
    case 'unreadable':
      return [
        'content-unreadable',
        `the file of this content cannot be read (${state.reason}): let the server's user read it, or look at the disk`,
      ]
    case 'other-size':
      return [
        'row-wrong',
        `the content has ${state.sizeBytes} bytes and is right, but its row says ${sizeBytes}: ${RESTORE}`,
      ]
    default:
      return [
        'content-damaged',
        `the ${state.sizeBytes} bytes of this content are not those that its digest names (its row says ${sizeBytes}): ` +
          `move it away with --quarantine, then ${AGAIN}`,
      ]
  }
}

function* checkMembership(table: string, row: MembershipRow): Generator<Finding> {
  const { repositoryId, digest, time } = row
  if (digest === null || !isDigest(digest) || !isCount(repositoryId) || !isCount(time)) yield invalidRow(table, digest)
}

function* checkUpload({ id, repositoryId, algorithm, createdAt }: OpenUploadRow): Generator<Finding> {
  const isValid = id !== null && UPLOAD_ID.test(id) && algorithm !== null && isDigestAlgorithm(algorithm)
  if (!isValid || !isCount(repositoryId) || !isCount(createdAt)) yield invalidRow('uploads', null)
}

function invalidRow(table: string, digest: string | null): Finding {
  return finding('row-invalid', `a row of ${table} has a value that no version writes: ${RESTORE}`, {
    digest,
  })
}

function isCount(value: number | null): value is number {
  return value !== null && value >= 0
}
