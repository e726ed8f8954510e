import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, isDigest } from '@entrepot/oci'
import { type Checked, type Finding, finding } from '#core/findings'
import type { Connection } from '#platform/database'
import type { Bucket, ObjectInfo } from '#platform/s3'
import { findStored, hasUpload } from './blob-check-rows.ts'
import { SECOND_LOOK_MS, YOUNG_MS } from './leftover-check.ts'
import { removeS3Leftovers } from './s3-leftovers.ts'
import { type Marker, parseMarker, parseSegment } from './s3-names.ts'

const PAGE_SIZE = 500

export interface S3LeftoverCheck {
  readonly bucket: Bucket
  /** Undefined where the database cannot be read: names are then only counted, and strange ones told. */
  readonly connection: Connection | undefined
  /** Whether servers may be working on the bucket. */
  readonly isOnline: boolean
  readonly checked: Checked
}

/** The names of one digest in the bucket. */
interface NamedContent {
  readonly digest: Digest
  readonly names: (Marker & ObjectInfo)[]
}

/** Walks through the names in a bucket and tells of what no row knows. Nothing of it harms anybody. */
export async function* checkS3Leftovers(check: S3LeftoverCheck): AsyncGenerator<Finding> {
  let page: NamedContent[] = []
  for await (const content of listNamed(check.bucket, 'digests/')) {
    if (!('digest' in content)) {
      yield* strayKey(check, content)
      continue
    }
    check.checked.files += content.names.length
    page.push(content)
    if (page.length < PAGE_SIZE) continue
    yield* checkNamed(check, page)
    page = []
  }
  yield* checkNamed(check, page)
  yield* checkSegments(check)
  yield* listQuarantine(check)
  yield* checkObjects(check)
}

async function* checkNamed(check: S3LeftoverCheck, page: readonly NamedContent[]): AsyncGenerator<Finding> {
  const { connection, isOnline } = check
  if (connection === undefined) return
  const withoutRow = async (contents: readonly NamedContent[]) => {
    const stored = await findStored(
      connection,
      contents.map(({ digest }) => digest),
    )
    return contents.filter(({ digest }) => !stored.has(digest))
  }
  let suspects = await withoutRow(page)
  if (isOnline && suspects.length > 0) {
    await sleep(SECOND_LOOK_MS)
    suspects = await withoutRow(suspects)
  }
  for (const { digest, names } of suspects) {
    const [newest] = newestFirst(names)
    if (newest === undefined || !(await isLeft(check, newest))) continue
    yield finding(
      'file-without-row',
      `no row tells of ${newest.key}: a push that a crash interrupted, or the database is older than the content; ` +
        'pushing the content again makes it known, and it may be deleted when the database is the right one',
      { digest },
    )
  }
  for (const { digest, names } of page) {
    const [newest, ...older] = newestFirst(names)
    // While content is stored again it has two for a moment.
    if (newest === undefined || older.length === 0 || !(await isLeft(check, newest))) continue
    for (const { key } of older) {
      yield finding(
        'name-wrong',
        `${newest.key} counts, and ${key} is left over: pushing the content again removes it`,
        {
          digest,
        },
      )
    }
  }
}

async function* checkSegments(check: S3LeftoverCheck): AsyncGenerator<Finding> {
  let known: { readonly uploadId: string; readonly isOpen: boolean } | undefined
  for await (const info of check.bucket.list('uploads/')) {
    const segment = parseSegment(info.key)
    if (segment === undefined) {
      yield* strayKey(check, info)
      continue
    }
    const { uploadId } = segment
    if (check.connection === undefined || known?.uploadId === uploadId) continue
    known = { uploadId, isOpen: await hasUpload(check.connection, uploadId) }
    if (!known.isOpen && (await isLeft(check, info))) yield abandoned(`no upload is open for ${info.key}`)
  }
}

async function* listQuarantine(check: S3LeftoverCheck): AsyncGenerator<Finding> {
  for await (const content of listNamed(check.bucket, 'quarantine/')) {
    if ('digest' in content) {
      const { digest, names } = content
      const objects = names.map(({ object }) => object).join(', ')
      yield finding(
        'quarantined',
        `damaged content was moved below quarantine/, its bytes are in ${objects}: delete both when nobody needs them`,
        { digest },
      )
    } else yield* strayKey(check, content)
  }
}

/** Objects that no name tells of, and parts of those that were never completed. */
async function* checkObjects(check: S3LeftoverCheck): AsyncGenerator<Finding> {
  const before = Date.now() - (check.isOnline ? YOUNG_MS : 0)
  for (const key of await removeS3Leftovers(check.bucket, { before, isDryRun: true, isEnding: () => false })) {
    yield abandoned(`no name tells of ${key}`)
  }
}

function abandoned(what: string): Finding {
  return finding('upload-without-row', `${what}: it is removed after storage.maintenance.uploadpurging.age`)
}

async function* strayKey(check: S3LeftoverCheck, info: ObjectInfo): AsyncGenerator<Finding> {
  if (await isLeft(check, info)) {
    yield finding('stray-name', `nothing of the registry is called ${info.key}: move it elsewhere`)
  }
}

/** Whether something is there and, beside running servers, has been for a while. */
async function isLeft({ isOnline, bucket }: S3LeftoverCheck, { key, modifiedAt }: ObjectInfo): Promise<boolean> {
  return !isOnline || (Date.now() - modifiedAt > YOUNG_MS && (await bucket.head(key)) !== undefined)
}

/** What has a name below a folder, by digest, and keys that are no names. */
async function* listNamed(
  bucket: Bucket,
  folder: 'digests/' | 'quarantine/',
): AsyncGenerator<NamedContent | ObjectInfo> {
  let content: NamedContent | undefined
  for await (const info of bucket.list(folder)) {
    const marker = parseMarker(info.key)
    const digest = info.key.split('/').slice(1, 3).join(':')
    if (marker === undefined || !isDigest(digest)) {
      yield info
      continue
    }
    if (content !== undefined && content.digest !== digest) yield content
    content = content?.digest === digest ? content : { digest, names: [] }
    content.names.push({ ...info, ...marker, sizeBytes: marker.sizeBytes })
  }
  if (content !== undefined) yield content
}

function newestFirst(names: NamedContent['names']): NamedContent['names'] {
  return names.toSorted((a, b) => b.modifiedAt - a.modifiedAt || (a.key < b.key ? 1 : -1))
}
