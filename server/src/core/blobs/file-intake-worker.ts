import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fdatasyncSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
} from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { type Digest, digestAlgorithm } from '@entrepot/oci'
import type { FileOrder, FileOutcome, IntakeAnswer, IntakeTask, PreparedFile } from './file-intake.ts'

const READ_BYTES = 1024 * 1024
const OWNER_ONLY = 0o600
const OWNER_READS = 0o400
const OTHERS_WRITE = 0o022
/** What a disk says that cannot be written to; anything else concerns the one file. */
const DISK_FAILURES = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EMFILE', 'ENFILE'])

const memory = Buffer.allocUnsafeSlow(READ_BYTES)

type Order = FileOrder & { readonly spare: string | undefined }
type Refused = Exclude<FileOutcome['kind'], 'prepared' | 'named'>

/** Why a file does not become content. */
class RefusedFileError extends Error {
  readonly kind: Refused

  constructor(kind: Refused, message: string) {
    super(message)
    this.kind = kind
  }
}

function work(task: IntakeTask): IntakeAnswer {
  try {
    const outcomes = task.work === 'prepare' ? prepareAll(task.orders) : task.files.map(place)
    return { outcomes, failure: undefined }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { outcomes: [], failure: { code: codeOf(error), message } }
  }
}

function prepareAll(orders: readonly Order[]): FileOutcome[] {
  let canLink: boolean | undefined
  return orders.map((order) => {
    try {
      return prepare(order, (source, spare) => (canLink ??= tryLink(source, spare)))
    } catch (error) {
      if (error instanceof RefusedFileError) return { kind: error.kind, digest: order.digest, message: error.message }
      throw error
    }
  })
}

function prepare(order: Order, canLink: (source: string, spare: string) => boolean): FileOutcome {
  const { digest, source, spare } = order
  if (order.namedIn !== undefined) checkName(order.namedIn, digest)
  if (source === undefined) return { kind: 'named', digest }
  const file = openSource(source)
  try {
    const status = fstatSync(file)
    if (!status.isFile()) throw new RefusedFileError('unreadable', `${source} is not a file`)
    const prepared = { kind: 'prepared', digest, source, sizeBytes: status.size, identity: identityOf(status) } as const
    if (spare !== undefined && !(isOurs(status) && canLink(source, spare))) {
      return { ...prepared, copy: copyVerified(source, spare, digest) }
    }
    checkBytes(file, source, digest)
    // What the program that wrote it left to the kernel may still be in memory only.
    if (spare !== undefined) fdatasyncSync(file)
    return { ...prepared, copy: undefined }
  } finally {
    closeSync(file)
  }
}

function place(file: PreparedFile & { readonly target: string }): FileOutcome {
  const { digest, source, copy, target } = file
  if (copy !== undefined) {
    renameSync(copy, target)
    return file
  }
  try {
    linkOver(source, target)
    if (identityOf(lstatSync(target)) === file.identity) return file
    rmSync(target)
    return { kind: 'damaged', digest, message: `${source} was changed while it was read` }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    return { kind: 'absent', digest, message: `${source} was removed while it was read` }
  }
}

/** What is there without a row, or with another size than its row says, gives way. */
function linkOver(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    rmSync(target)
    linkSync(source, target)
  }
}

function checkName(namedIn: string, digest: Digest): void {
  let text: string
  try {
    text = readFileSync(namedIn, 'latin1')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new RefusedFileError('forgotten', `there is no link ${namedIn}`)
    throw new RefusedFileError('unnamed', `the link cannot be read (${messageOf(error)})`)
  }
  if (text.trim() !== digest) throw new RefusedFileError('unnamed', `the link ${namedIn} does not say ${digest}`)
}

function openSource(source: string): number {
  try {
    return openSync(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new RefusedFileError('absent', `there is no content: ${source}`)
    throw new RefusedFileError('unreadable', `the content cannot be read (${messageOf(error)})`)
  }
}

/** A file of another user, or that others may write to, would not be ours to keep. */
function isOurs({ uid, mode }: Stats): boolean {
  return uid === process.geteuid?.() && (mode & OTHERS_WRITE) === 0 && (mode & OWNER_READS) !== 0
}

/** Whether files from there can have a further name here: not from another file system, nor from another mount of it. */
function tryLink(source: string, spare: string): boolean {
  try {
    linkSync(source, spare)
    rmSync(spare)
    return true
  } catch {
    return false
  }
}

/** Copies a file, sharing its blocks where the file system can, and compares the copy. @returns where it is. */
function copyVerified(source: string, spare: string, digest: Digest): string {
  try {
    copyFileSync(source, spare, constants.COPYFILE_FICLONE)
    chmodSync(spare, OWNER_ONLY)
    const file = openSync(spare, 'r')
    try {
      checkBytes(file, source, digest)
      fdatasyncSync(file)
    } finally {
      closeSync(file)
    }
    return spare
  } catch (error) {
    rmSync(spare, { force: true })
    if (error instanceof RefusedFileError || DISK_FAILURES.has(codeOf(error))) throw error
    throw new RefusedFileError('unreadable', `the content cannot be copied (${messageOf(error)})`)
  }
}

/** @throws RefusedFileError */
function checkBytes(file: number, source: string, digest: Digest): void {
  const hash = createHash(digestAlgorithm(digest))
  try {
    for (let position = 0; ;) {
      const length = readSync(file, memory, 0, READ_BYTES, position)
      if (length === 0) break
      hash.update(memory.subarray(0, length))
      position += length
    }
  } catch (error) {
    throw new RefusedFileError('unreadable', `the content ${source} cannot be read (${messageOf(error)})`)
  }
  const actual = `${digestAlgorithm(digest)}:${hash.digest('hex')}`
  if (actual !== digest) throw new RefusedFileError('damaged', `the content ${source} has the digest ${actual}`)
}

function identityOf({ dev, ino, size, mtimeMs }: Stats): string {
  return `${dev} ${ino} ${size} ${mtimeMs}`
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

parentPort?.on('message', (task: IntakeTask) => parentPort?.postMessage(work(task)))
