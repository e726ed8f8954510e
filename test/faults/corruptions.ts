import { chmod, mkdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Random } from '../random.ts'
import type { VariedStore } from './varied-store.ts'

/** What must be found: kinds, with the digests that they concern. */
export type Expected = readonly (readonly [kind: string, digest?: string | undefined])[]

/** What a corruption works on. */
interface Harmed {
  /** The data folder. */
  readonly root: string
  readonly store: VariedStore
  readonly random: Random
}

/** Something that goes wrong with a data folder, and what a check says of it. */
export interface Corruption {
  readonly name: string
  readonly apply: (harmed: Harmed) => Promise<void> | void
  /** The kind and the digest that must be found. */
  readonly expected: (store: VariedStore) => Expected
  /** What the same corruption also makes wrong: further kinds that may be found. */
  readonly consequences?: readonly string[]
}

const OTHER = `sha256:${'5'.repeat(64)}`
const DAMAGED_DATABASE = [
  'database-damaged',
  'database-unreadable',
  'database-version',
  'row-dangling',
  'row-invalid',
  'row-wrong',
  'children-wrong',
  'child-missing',
  'content-missing',
]

/** Where the store keeps content. */
export function contentFile(root: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(root, 'blobs', algorithm, hex.slice(0, 2), hex)
}

/** Content that a test knows. */
export type Field = Exclude<keyof VariedStore, 'name' | 'upload'>

/** Harm to the file of one content. */
function file(
  name: string,
  field: Field,
  kind: string,
  harm: (path: string, harmed: Harmed) => Promise<void>,
): Corruption {
  return {
    name: `${name} (${field})`,
    apply: async (harmed) => harm(contentFile(harmed.root, harmed.store[field]), harmed),
    expected: (store) => [[kind, store[field]]],
  }
}

const flip = async (path: string, { random }: Harmed) => {
  const bytes = await readFile(path)
  const at = random.below(bytes.length)
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at)
  await writeFile(path, bytes)
}

const FILES: readonly Corruption[] = [
  ...(['config', 'layer', 'largeLayer', 'image', 'sha512Image', 'index', 'nestedIndex', 'referrer'] as const).map(
    (field) => file('a bit of a file flips', field, 'content-damaged', flip),
  ),
  ...(['layer', 'image'] as const).flatMap((field) => [
    file('a file is cut', field, 'content-damaged', async (path, { random }) =>
      truncate(path, random.below((await stat(path)).size)),
    ),
    file('a file is emptied', field, 'content-damaged', async (path) => truncate(path, 0)),
    file('a file grows', field, 'content-damaged', async (path, { random }) =>
      writeFile(path, random.bytes(random.between(1, 5_000)), { flag: 'a' }),
    ),
    file('a file is gone', field, 'content-missing', async (path) => rm(path)),
    file('a folder is where a file was', field, 'content-not-a-file', async (path) => {
      await rm(path)
      await mkdir(path)
    }),
    file('a link is where a file was', field, 'content-not-a-file', async (path) => {
      await rename(path, `${path}.elsewhere`)
      await symlink(`${path}.elsewhere`, path)
    }),
    file('a file may not be read', field, 'content-unreadable', async (path) => chmod(path, 0)),
  ]),
  file('a piece of a file becomes zeros', 'largeLayer', 'content-damaged', async (path, { random }) => {
    const bytes = await readFile(path)
    const at = random.below(bytes.length - 512)
    bytes.fill(0, at, at + 512)
    await writeFile(path, bytes)
  }),
  file('other bytes of the same length come', 'layer', 'content-damaged', async (path, { random }) =>
    writeFile(path, random.bytes(5_000)),
  ),
  {
    name: 'two files of the same length change places',
    apply: async ({ root, store }) => {
      const [one, other] = [contentFile(root, store.layer), contentFile(root, store.otherLayer)]
      await rename(one, `${root}/swapped`)
      await rename(other, one)
      await rename(`${root}/swapped`, other)
    },
    expected: (store) => [
      ['content-damaged', store.layer],
      ['content-damaged', store.otherLayer],
    ],
  },
  {
    name: 'a file is where a folder of contents was',
    apply: async ({ root, store }) => {
      const folder = dirname(contentFile(root, store.largeLayer))
      await rm(folder, { recursive: true })
      await writeFile(folder, '')
    },
    expected: (store) => [['content-missing', store.largeLayer]],
    consequences: ['content-missing'],
  },
  {
    name: 'all contents of an algorithm are gone',
    apply: async ({ root }) => rm(join(root, 'blobs', 'sha512'), { recursive: true }),
    expected: (store) => [['content-missing', store.sha512Image]],
    consequences: ['content-missing'],
  },
]

/** Harm to rows; `?` stands for the digest of the field. */
function rows(
  statement: string,
  field: Field,
  expected: readonly (string | readonly [kind: string, digest: string | undefined])[],
  consequences: readonly string[] = [],
): Corruption {
  return {
    name: statement.replace('?', `'${field}'`),
    apply: ({ root, store }) => {
      const database = new DatabaseSync(join(root, 'entrepot.db'), { enableForeignKeyConstraints: false })
      const changes = database.prepare(statement).run(...(statement.includes('?') ? [store[field]] : []))
      database.close()
      if (changes.changes === 0) throw new Error(`nothing was changed by ${statement}`)
    },
    expected: (store) => expected.map((entry) => (typeof entry === 'string' ? [entry, store[field]] : entry)),
    consequences,
  }
}

/** Corruptions of rows, which are found wherever content is. */
export const ROWS: readonly Corruption[] = [
  rows('delete from blobs where digest = ?', 'layer', ['row-dangling'], ['child-missing']),
  rows('delete from blobs where digest = ?', 'nestedIndex', ['row-dangling']),
  rows('update blobs set size_bytes = size_bytes + 1 where digest = ?', 'layer', ['row-wrong']),
  rows('update blobs set size_bytes = -1 where digest = ?', 'largeLayer', ['row-invalid']),
  rows("update blobs set created_at = 'today' where digest = ?", 'config', ['row-invalid']),
  rows(
    `update blobs set digest = '${OTHER}' where digest = ?`,
    'layer',
    ['row-dangling', ['content-missing', OTHER]],
    ['child-missing'],
  ),
  rows(
    "update blobs set digest = 'sha256:x' where digest = ?",
    'layer',
    ['row-dangling', ['row-invalid', 'sha256:x']],
    ['child-missing'],
  ),
  rows(
    "update blobs set digest = x'00ff' where digest = ?",
    'layer',
    ['row-dangling', ['row-invalid', undefined]],
    ['child-missing'],
  ),
  rows('delete from repository_blobs where digest = ?', 'layer', ['child-missing']),
  rows('update repository_blobs set repository_id = 999 where digest = ?', 'otherLayer', [
    'row-dangling',
    'child-missing',
  ]),
  rows(
    "update repository_blobs set digest = '../../etc/passwd' where digest = ?",
    'otherLayer',
    [['row-invalid', '../../etc/passwd'], 'child-missing'],
    ['row-dangling'],
  ),
  rows('update repository_blobs set created_at = 0.5 where digest = ?', 'largeLayer', ['row-invalid']),
  rows(
    'delete from repositories where id in (select repository_id from manifests where digest = ?)',
    'image',
    ['row-dangling'],
    ['row-dangling', 'row-wrong'],
  ),
  rows("update repositories set name = 'Not A Name' where id = 1", 'image', [['row-invalid', undefined]]),
  rows("update repositories set created_at = 'x' where id = 1", 'image', [['row-invalid', undefined]]),
  rows('update repositories set published_at = null', 'image', ['row-wrong'], ['row-wrong']),
  rows('delete from manifests where digest = ?', 'image', ['row-dangling', 'child-missing'], ['row-dangling']),
  rows("update manifests set media_type = 'application/vnd.oci.image.index.v1+json' where digest = ?", 'image', [
    'row-wrong',
  ]),
  rows('update manifests set size_bytes = size_bytes * 2 where digest = ?', 'image', ['row-wrong']),
  rows(`update manifests set subject = '${OTHER}' where digest = ?`, 'referrer', ['row-wrong']),
  rows('update manifests set subject = null where digest = ?', 'referrer', ['row-wrong']),
  rows("update manifests set artifact_type = 'text/x' where digest = ?", 'referrer', ['row-wrong']),
  rows('update manifests set annotations = \'{"who":"else"}\' where digest = ?', 'referrer', ['row-wrong']),
  rows("update manifests set annotations = '{' where digest = ?", 'referrer', ['row-wrong']),
  rows('update manifests set nesting = 3 where digest = ?', 'image', ['row-wrong']),
  rows('update manifests set nesting = 0 where digest = ?', 'nestedIndex', ['row-wrong']),
  rows(
    `update manifests set digest = '${OTHER}' where digest = ?`,
    'nestedIndex',
    ['row-dangling', ['row-dangling', OTHER]],
    ['row-dangling'],
  ),
  rows(
    "update manifests set digest = 'nothing' where digest = ?",
    'nestedIndex',
    ['row-dangling', ['row-invalid', 'nothing']],
    ['row-dangling'],
  ),
  rows(
    'delete from manifest_children where rowid = (select max(rowid) from manifest_children where parent = ?)',
    'index',
    ['children-wrong'],
  ),
  rows(
    `insert into manifest_children select repository_id, digest, '${OTHER}' from manifests where digest = ?`,
    'image',
    ['children-wrong'],
  ),
  rows(
    "update manifest_children set child = 'x' where rowid = (select max(rowid) from manifest_children where parent = ?)",
    'sha512Image',
    ['children-wrong', 'row-invalid'],
  ),
  rows(`update manifest_children set parent = '${OTHER}' where parent = ?`, 'referrer', [
    'children-wrong',
    ['row-dangling', OTHER],
  ]),
  rows(`update tags set digest = '${OTHER}' where name = 'v1'`, 'image', [['row-dangling', OTHER]]),
  rows("update tags set name = 'not a tag' where name = 'multi'", 'index', ['row-invalid']),
  rows("update tags set updated_at = 'x' where name = 'nested'", 'nestedIndex', ['row-invalid']),
  rows('update deleted_manifests set size_bytes = 1 where digest = ?', 'deletedImage', ['row-wrong']),
  rows('delete from deleted_manifest_children where parent = ?', 'deletedImage', ['children-wrong']),
  rows("update deleted_tags set name = '' where digest = ?", 'deletedImage', ['row-invalid']),
  rows('update deleted_tags set repository_id = 77 where digest = ?', 'deletedImage', ['row-dangling']),
  rows("update uploads set algorithm = 'md5'", 'image', [['row-invalid', undefined]]),
  rows("update uploads set id = '../entrepot.db'", 'image', [['row-invalid', undefined]], ['upload-without-row']),
  rows('update uploads set repository_id = 77', 'image', [['row-dangling', undefined]]),
  rows('delete from uploads', 'image', [['upload-without-row', undefined]]),
  rows("insert into unneeded_blobs values (1, 'sha256:', 0)", 'image', [['row-invalid', 'sha256:']]),
  rows("delete from schema_migrations where name = 'manifests_digest'", 'image', [['database-version', undefined]]),
  rows("insert into schema_migrations values ('of_the_future', 99, 0)", 'image', [['database-version', undefined]]),
]

/** Harm to the bytes of the database. */
function database(
  name: string,
  kinds: readonly string[],
  harm: (path: string, harmed: Harmed) => Promise<void>,
): Corruption {
  return {
    name,
    apply: async (harmed) => harm(join(harmed.root, 'entrepot.db'), harmed),
    expected: () => kinds.map((kind) => [kind] as const),
    consequences: DAMAGED_DATABASE,
  }
}

const PAGE_BYTES = 4096

/** Overwrites one page of the file that is in use. */
const overwritePage = async (path: string, page: number, bytes: Buffer) => {
  const all = await readFile(path)
  bytes.copy(all, (page - 1) * PAGE_BYTES)
  await writeFile(path, all)
}

/** The first page of a table or an index. */
function rootPage(path: string, name: string): number {
  const database = new DatabaseSync(path, { readOnly: true })
  const row = database.prepare('select rootpage from sqlite_schema where name = ?').get(name)
  database.close()
  return Number(row?.['rootpage'])
}

const DATABASE: readonly Corruption[] = [
  database('the database is gone', ['database-missing'], async (path) => rm(path)),
  database('the database is empty', ['database-missing'], async (path) => truncate(path, 0)),
  database('the database begins with other bytes', ['database-damaged'], async (path, { random }) =>
    overwritePage(path, 1, random.bytes(100)),
  ),
  database('the database is cut', ['database-damaged'], async (path, { random }) =>
    truncate(path, PAGE_BYTES * random.between(1, 8) + random.below(PAGE_BYTES)),
  ),
  ...['blobs', 'manifests', 'tags', 'repository_blobs', 'manifests_subject', 'tags_digest'].map((name) =>
    database(`a page of ${name} becomes zeros`, ['database-damaged'], async (path) =>
      overwritePage(path, rootPage(path, name), Buffer.alloc(PAGE_BYTES)),
    ),
  ),
  database('a page of manifest_children becomes noise', ['database-damaged'], async (path, { random }) =>
    overwritePage(path, rootPage(path, 'manifest_children'), random.bytes(PAGE_BYTES)),
  ),
]

/** Every corruption that is known here. */
export const CORRUPTIONS: readonly Corruption[] = [...FILES, ...ROWS, ...DATABASE]
