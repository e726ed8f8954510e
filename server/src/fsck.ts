import { statSync } from 'node:fs'
import { chown } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Digest, isDigest } from '@entrepot/oci'
import { checkBlobRows, findBlobSizes, findRepositoriesWithBlob } from '#core/blobs'
import { Checked, type Finding, finding } from '#core/findings'
import { type Instance, joinInstances } from '#core/instances'
import { checkRepositoryRows, findRepositoryName } from '#core/repositories'
import { checkInventory, checkManifestRows, findManifestRepository, ociReferences } from '#formats/oci'
import {
  appliedMigrations,
  type DanglingRow,
  type DatabaseInspection,
  FolderInUseError,
  inspectPostgres,
  inspectSqlite,
  isSqliteError,
  isUnused,
  lockFolder,
  openPostgres,
  type PostgresOptions,
} from '#platform/database'
import { createCommandLogger } from '#platform/log'
import { type CheckedStore, openCheckedStore } from './checked-store.ts'
import type { Config } from './config/index.ts'
import { requireDataFolder } from './metadata.ts'
import { MIGRATIONS } from './migrations.ts'
import { manifestPolicy, postgresOptions } from './settings.ts'

export { type Rebuild, rebuildMetadata } from './rebuild.ts'
export type { Finding, FindingKind } from '#core/findings'
export { SEVERITIES } from '#core/findings'

/** What is quarantined: the bytes are there, and are not those of the digest. A server moves only what it can read. */
const QUARANTINED = new Set(['content-damaged', 'content-not-a-file'])
const QUARANTINED_ONLINE = new Set(['content-damaged'])

const BACKUP = 'put a backup in place'

export interface FsckOptions {
  readonly config: Config
  /** Checks beside a running server; otherwise the folder must be free. */
  readonly isOnline: boolean
  /** Hashes every blob, not only manifests. */
  readonly isDeep: boolean
  /** Moves damaged content away; nothing else is ever changed. */
  readonly isQuarantining: boolean
  /** Has the server that works there do so, which looks again; tells whether it has. Needed when the check is online. */
  readonly quarantine?: (digest: Digest) => Promise<boolean>
  /** How fast blobs are read at most; undefined for as fast as the disk. */
  readonly bytesPerSecond: number | undefined
}

/** A check under way: how much was looked at grows while the findings come. */
export interface Fsck {
  readonly checked: Readonly<Checked>
  readonly findings: AsyncIterable<Finding>
}

/**
 * Checks everything in a data folder: the database, what its rows say of each other, and the store's content.
 * @throws when there is no such folder, or a server works there and the check is not online.
 * @throws ObjectStoreError when content is in a bucket that cannot be used.
 */
export async function fsck(options: FsckOptions): Promise<Fsck> {
  const root = resolve(options.config.storage.filesystem.rootdirectory)
  // What SQLite may have to create is not for others to read.
  process.umask(0o077)
  const owner = await requireDataFolder(root)
  if (!options.isOnline) await lock(root, owner)
  const checked = new Checked()
  const store = await openCheckedStore(options.config, root, {
    bytesPerSecond: options.bytesPerSecond,
    onHashed: (bytes) => (checked.hashedBytes += bytes),
  })
  const database = await openDatabase(root, options)
  if ('read' in database && !options.isOnline) await keepOthersOut(database)
  return { checked, findings: check(options, { store, database, checked }) }
}

async function lock(root: string, owner: { uid: number; gid: number }): Promise<void> {
  const file = join(root, 'entrepot.lock')
  const isNew = statSync(file, { throwIfNoEntry: false }) === undefined
  try {
    lockFolder(root)
  } catch (error) {
    if (!(error instanceof FolderInUseError)) throw error
    throw new Error(`a server works in the data folder ${root}: check beside it with --online, or end it first`, {
      cause: error,
    })
  }
  // Made by root, the server's user could not open it.
  if (isNew && process.getuid?.() === 0) await chown(file, owner.uid, owner.gid)
}

/** What is looked at: with metadata in PostgreSQL there may be others who work on it, on other machines, too. */
type OpenedDatabase = DatabaseInspection & { join?: () => Promise<Instance>; instance?: Instance }

interface Place {
  readonly store: CheckedStore
  readonly database: OpenedDatabase | Finding
  readonly checked: Checked
}

/** @throws Error when servers work on the database. */
async function keepOthersOut(database: OpenedDatabase): Promise<void> {
  // A version that knows no other instances has none.
  if (database.join === undefined || !(await isOfThisVersion(database))) return
  try {
    database.instance = await database.join()
  } catch (error) {
    await database.close()
    throw error
  }
}

async function* check(options: FsckOptions, { store, database, checked }: Place): AsyncGenerator<Finding> {
  const { isOnline } = options
  const { inspector } = store
  if (!('read' in database)) {
    yield* store.leftovers({ connection: undefined, isOnline, checked })
    // A folder in which nothing was ever stored needs none.
    if (database.kind !== 'database-missing' || checked.files > 0) yield database
    return
  }
  try {
    const mover = options.isQuarantining ? createMover(options, store) : undefined
    const rows = { database, inspector, checked, isDeep: options.isDeep, references: ociReferences }
    const policy = manifestPolicy(options.config)
    yield* orDamage(checkStructure(database))
    if (!(await isOfThisVersion(database))) return
    yield* orDamage(checkRepositoryRows(database.read, checked))
    yield* orDamage(quarantine(nameRepositories(checkBlobRows(rows), database), mover))
    yield* orDamage(checkManifestRows({ ...rows, policy, blobSizes: findBlobSizes }))
    yield* orDamage(store.leftovers({ connection: database.read, isOnline, checked }))
    // Beside a server entries come a moment after their rows.
    if (store.inventory !== undefined && !isOnline) yield* orDamage(checkInventory(database.read, store.inventory))
  } finally {
    await database.instance?.leave()
    await database.close()
  }
}

/** Opens the database, or tells why that cannot be done. */
async function openDatabase(root: string, { config, isOnline }: FsckOptions): Promise<OpenedDatabase | Finding> {
  const postgres = postgresOptions(config)
  if (postgres !== undefined) return openOnPostgres(postgres)
  const file = join(root, 'entrepot.db')
  try {
    const sizeBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0
    if (sizeBytes > 0) return inspectSqlite(file, !isOnline)
    return finding('database-missing', `there is content, but its database ${file} is missing or empty: ${BACKUP}`)
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return finding('database-unreadable', `the database ${file} cannot be read (${error.message}): ${BACKUP}`)
  }
}

/** @throws DatabaseUnavailableError */
async function openOnPostgres(options: PostgresOptions): Promise<OpenedDatabase | Finding> {
  const log = await createCommandLogger()
  const database = await openPostgres(options, log)
  if (await isUnused(database.read)) {
    await database.close()
    return finding(
      'database-missing',
      `there is content, but the database that "database.url" names is empty: ${BACKUP}`,
    )
  }
  return { ...inspectPostgres(database), join: async () => joinInstances(database, log, true) }
}

/** Looks at the file of the database, at its version, and for rows whose counterpart is missing. */
async function* checkStructure(database: DatabaseInspection): AsyncGenerator<Finding> {
  for (const problem of database.structureProblems()) {
    yield finding('database-damaged', `the database is damaged (${problem}): ${BACKUP}`)
  }
  const { applied, known } = await migrationsOf(database)
  for (const name of applied.difference(known)) {
    yield finding('database-version', `a newer version has written the database (${name}): check with that version`)
  }
  for (const name of known.difference(applied)) {
    yield finding(
      'database-version',
      `the database lacks the step "${name}": start this version once, which takes it, then check again`,
    )
  }
  for (const row of database.danglingRows()) yield await describeDangling(database, row)
}

async function migrationsOf(database: DatabaseInspection): Promise<{ applied: Set<string>; known: Set<string> }> {
  return {
    applied: new Set(await appliedMigrations(database.read)),
    known: new Set(MIGRATIONS.map(({ name }) => name)),
  }
}

/** Whether the tables are those that this version asks. */
async function isOfThisVersion(database: DatabaseInspection): Promise<boolean> {
  try {
    const { applied, known } = await migrationsOf(database)
    return known.isSubsetOf(applied)
  } catch (error) {
    if (isSqliteError(error)) return false
    throw error
  }
}

async function describeDangling(database: DatabaseInspection, row: DanglingRow): Promise<Finding> {
  const { repository_id: id, name, digest, parent, child } = row.values
  const repository = typeof id === 'bigint' ? await findRepositoryName(database.read, Number(id)) : undefined
  const content = [digest, parent, child].find((value) => typeof value === 'string')
  const what = row.table === 'tags' ? `the tag ${JSON.stringify(String(name))}` : `a row of ${row.table}`
  return finding(
    'row-dangling',
    `${what} refers to a row of ${row.parent} that is not there: restore a backup of the database, or push it again`,
    { digest: content, repository },
  )
}

/** Says of content, which is shared, where one repository is that has it. */
async function* nameRepositories(
  findings: AsyncIterable<Finding>,
  { read }: DatabaseInspection,
): AsyncGenerator<Finding> {
  for await (const found of findings) {
    const { digest } = found
    if (digest === undefined || !isDigest(digest)) {
      yield found
      continue
    }
    const id = (await findRepositoriesWithBlob(read, digest, 1))[0] ?? (await findManifestRepository(read, digest))
    const repository = id === undefined ? undefined : await findRepositoryName(read, id)
    yield repository === undefined ? found : { ...found, repository }
  }
}

/** What moves content away, and tells whether it has. */
interface Mover {
  readonly kinds: ReadonlySet<string>
  readonly move: (digest: Digest) => Promise<boolean>
}

function createMover({ isOnline, quarantine: move }: FsckOptions, store: CheckedStore): Mover {
  if (isOnline) {
    if (move === undefined) throw new Error('beside a server only the server moves content away')
    return { kinds: QUARANTINED_ONLINE, move }
  }
  return { kinds: QUARANTINED, move: async (digest) => store.quarantine(digest).then(() => true) }
}

/** Moves away what was found damaged, where that is wanted. */
async function* quarantine(findings: AsyncIterable<Finding>, mover: Mover | undefined): AsyncGenerator<Finding> {
  for await (const found of findings) {
    const { kind, digest } = found
    const isMoved =
      mover?.kinds.has(kind) === true && digest !== undefined && isDigest(digest) && (await mover.move(digest))
    yield isMoved ? { ...found, message: `${found.message} (it was moved to the folder quarantine)` } : found
  }
}

/** Tells of a database that breaks in the middle of a look, instead of ending with its error. */
async function* orDamage(findings: AsyncIterable<Finding>): AsyncGenerator<Finding> {
  try {
    yield* findings
  } catch (error) {
    if (!isSqliteError(error)) throw error
    yield finding('database-damaged', `the database could not be read further (${error.message}): ${BACKUP}`)
  }
}
