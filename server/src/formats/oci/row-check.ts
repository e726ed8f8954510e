import { isDeepStrictEqual } from 'node:util'
import {
  type Descriptor,
  type Digest,
  isDigest,
  isIndexType,
  isTag,
  type Manifest,
  parseManifest,
  RegistryError,
} from '@entrepot/oci'
import type { Blobs, ContentInspector } from '#core/blobs'
import { type Checked, type Finding, finding, type FindingKind } from '#core/findings'
import { findRepositoryName, isPublished, type RepositoryId } from '#core/repositories'
import { type Connection, type DatabaseInspection, pagesOf } from '#platform/database'
import { isRequired, type ManifestPolicy } from './manifest-checks.ts'
import { findManifests } from './manifest-rows.ts'
import {
  findChildren,
  findWholeManifest,
  listChildRows,
  listManifestRows,
  listTagRows,
  type RowPlace,
  type WholeManifestRow,
} from './row-check-rows.ts'

const PAGE_SIZE = 200
/** What is larger is no manifest. */
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024
/** A message names so many of what is missing. */
const MAX_NAMED = 5
const RESTORE = 'restore a backup of the database'

export interface ManifestCheck {
  readonly database: DatabaseInspection
  readonly inspector: ContentInspector
  readonly blobSizes: Blobs['sizes']
  readonly policy: ManifestPolicy
  readonly checked: Checked
}

/** A manifest of a repository. */
interface Subject {
  readonly repositoryId: RepositoryId
  readonly digest: Digest
}

const SERVED: RowPlace = { manifests: 'manifests', children: 'manifest_children', tags: 'tags' }
const RESTING: RowPlace = {
  manifests: 'deleted_manifests',
  children: 'deleted_manifest_children',
  tags: 'deleted_tags',
}

/**
 * Looks at every row of manifests, of what they need and of tags, and compares them with the manifests' own bytes.
 * Each manifest is judged on one state of the database, so that what goes on meanwhile is no finding.
 */
export async function* checkManifestRows(check: ManifestCheck): AsyncGenerator<Finding> {
  for (const place of [SERVED, RESTING]) yield* checkPlace(check, place)
}

async function* checkPlace(check: ManifestCheck, place: RowPlace): AsyncGenerator<Finding> {
  const { checked } = check
  const connection = check.database.read
  const { manifests, children, tags } = place
  for await (const page of pagesOf(async (after) => listManifestRows(connection, manifests, after, PAGE_SIZE))) {
    const subjects: Subject[] = []
    for (const { repositoryId, digest } of page) {
      checked.manifests++
      if (repositoryId === null || digest === null || !isDigest(digest)) yield invalidRow(manifests, digest)
      else subjects.push({ repositoryId, digest })
    }
    const { width } = check.inspector
    for (let start = 0; start < subjects.length; start += width) {
      const group = subjects.slice(start, start + width)
      const read = group.map(async (subject) => ({
        subject,
        bytes: await check.inspector.read(subject.digest, MAX_MANIFEST_BYTES),
      }))
      // Without them, content that is missing or damaged is told of already.
      for (const { subject, bytes } of await Promise.all(read)) {
        if (bytes !== undefined) yield* await checkManifest(check, place, { subject, bytes })
      }
    }
  }
  for await (const page of pagesOf(async (after) => listChildRows(connection, children, after, PAGE_SIZE))) {
    for (const { repositoryId, parent, child } of page) {
      if (repositoryId !== null && isDigestText(parent) && isDigestText(child)) continue
      yield invalidRow(children, parent)
    }
  }
  for await (const page of pagesOf(async (after) => listTagRows(connection, tags, after, PAGE_SIZE))) {
    for (const { repositoryId, name, digest, updatedAt } of page) {
      checked.tags++
      const isNamed = name !== null && isTag(name) && repositoryId !== null
      if (!isNamed || !isDigestText(digest) || updatedAt === null) yield invalidRow(tags, digest)
    }
  }
}

async function checkManifest(
  check: ManifestCheck,
  place: RowPlace,
  { subject, bytes }: { subject: Subject; bytes: Buffer },
): Promise<Finding[]> {
  const { digest, repositoryId } = subject
  return check.database.snapshot(async (connection) => {
    const row = await findWholeManifest(connection, place.manifests, repositoryId, digest)
    if (row === undefined) return []
    const where = { digest, repository: await findRepositoryName(connection, repositoryId) }
    const tell = (kind: FindingKind, message: string, child?: string) =>
      finding(kind, message, { ...where, ...(child === undefined ? {} : { digest: child }) })
    const manifest = parseAs(bytes, row.mediaType)
    if (typeof manifest === 'string') {
      return [tell('row-wrong', `the row of this manifest is wrong: ${manifest}; ${RESTORE}`)]
    }
    const question = { connection, subject, manifest, tell }
    const found = await compareNames(question, place.children)
    const wrong = wrongColumns(row, manifest, bytes.byteLength)
    if (place === SERVED) {
      const { missing, nesting } = await compareWithRepository(check, question)
      found.push(...missing)
      if (row.nesting === null || row.nesting < nesting.least || row.nesting > nesting.most) wrong.push('nesting')
      if (!(await isPublished(connection, repositoryId))) wrong.push('published_at of its repository')
    }
    const columns = wrong.join(', ')
    if (columns !== '') {
      found.push(
        tell('row-wrong', `the row of this manifest says something else than its bytes (${columns}): ${RESTORE}`),
      )
    }
    return found
  })
}

/** The manifest, or why its bytes are no manifest of that type. */
function parseAs(bytes: Buffer, mediaType: string | null): Manifest | string {
  if (mediaType === null) return 'it has no media type'
  try {
    return parseManifest(bytes, mediaType)
  } catch (error) {
    if (error instanceof RegistryError) return error.message
    throw error
  }
}

/** The columns that do not say what the bytes say. */
function wrongColumns(row: WholeManifestRow, manifest: Manifest, sizeBytes: number): string[] {
  const annotations = manifest.subject === undefined ? undefined : manifest.annotations
  const columns: Record<string, boolean> = {
    size_bytes: row.sizeBytes === sizeBytes,
    media_type: row.mediaType === manifest.mediaType,
    artifact_type: row.artifactType === (manifest.artifactType ?? null),
    subject: row.subject === (manifest.subject ?? null),
    annotations: isDeepStrictEqual(parseJson(row.annotations), annotations),
    created_at: row.createdAt !== null,
  }
  return Object.entries(columns).flatMap(([name, isRight]) => (isRight ? [] : [name]))
}

/** JSON of the database; undefined for null, null for what is no JSON. */
function parseJson(text: string | null): unknown {
  if (text === null) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** One manifest, on one state of the database. */
interface ManifestQuestion {
  readonly connection: Connection
  readonly subject: Subject
  readonly manifest: Manifest
  readonly tell: (kind: FindingKind, message: string, child?: string) => Finding
}

/** Compares what a manifest lists with what the rows say that it needs: the collector believes the rows. */
async function compareNames(question: ManifestQuestion, table: RowPlace['children']): Promise<Finding[]> {
  const { connection, subject, manifest, tell } = question
  const rows = await findChildren(connection, table, subject.repositoryId, subject.digest)
  const differing = [...new Set<unknown>(digestsIn(manifest)).symmetricDifference(rows)]
  if (differing.length === 0) return []
  return [
    tell(
      'children-wrong',
      `the rows do not name what this manifest needs (${namesOf(differing)}), so that it could be deleted: ` +
        `delete this manifest and push it again, or ${RESTORE}`,
    ),
  ]
}

/** Compares what a manifest lists with what its repository has, and tells over how many levels it may say that it goes. */
async function compareWithRepository(
  check: ManifestCheck,
  { connection, subject: { repositoryId, digest }, manifest, tell }: ManifestQuestion,
): Promise<{ missing: Finding[]; nesting: { least: number; most: number } }> {
  const digests = digestsIn(manifest)
  const blobs: ReadonlyMap<string, number> = await check.blobSizes(connection, repositoryId, digests)
  const manifests: ReadonlyMap<string, { nesting: number }> = await findManifests(connection, repositoryId, digests)
  const missing = new Set<string>()
  const nesting = manifest.kind === 'index' ? { least: 1, most: 1 } : { least: 0, most: 0 }
  for (const descriptor of descriptorsIn(manifest)) {
    const child = manifests.get(descriptor.digest)
    const isThere = (manifest.kind === 'index' && child !== undefined) || blobs.has(descriptor.digest)
    if (!isThere && isRequired(manifest, descriptor, check.policy)) missing.add(descriptor.digest)
    if (manifest.kind === 'image' || child === undefined) continue
    nesting.most = Math.max(nesting.most, child.nesting + 1)
    // Another one may have come after the index, which then did not know how deep it goes.
    if (isIndexType(descriptor.mediaType)) nesting.least = Math.max(nesting.least, child.nesting + 1)
  }
  const message = `the manifest ${digest} needs this, and its repository does not have it: push it there again`
  return { missing: [...missing].map((child) => tell('child-missing', message, child)), nesting }
}

function descriptorsIn(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers]
}

function digestsIn(manifest: Manifest): Digest[] {
  const digests = new Set(descriptorsIn(manifest).map((descriptor) => descriptor.digest))
  return [...digests].filter((digest) => isDigest(digest))
}

function namesOf(digests: readonly unknown[]): string {
  const more = digests.length > MAX_NAMED ? ` and ${digests.length - MAX_NAMED} more` : ''
  return digests.slice(0, MAX_NAMED).map(String).join(', ') + more
}

function isDigestText(text: string | null): boolean {
  return text !== null && isDigest(text)
}

function invalidRow(table: string, digest: string | null): Finding {
  return finding('row-invalid', `a row of ${table} has a value that no version writes: ${RESTORE}`, { digest })
}
