import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const ROUTE_FOLDERS = ['server/src/formats/oci/routes', 'server/src/management/routes']

async function readTree(): Promise<Set<string>> {
  const text = await readFile(join(ROOT, 'ARCHITECTURE.md'), 'utf8')
  const block = /## The house\n\n```\n([\s\S]*?)```/.exec(text)?.[1] ?? ''
  const open: string[] = []
  const folders = new Set<string>()
  for (const line of block.trimEnd().split('\n')) {
    const match = /^( *)(\S+)\//.exec(line)
    assert.ok(match !== null, `not a line of the tree: ${line}`)
    const [, indent = '', name = ''] = match
    open.length = indent.length / 2
    open.push(name)
    folders.add(open.join('/'))
  }
  return folders
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(join(ROOT, folder), { withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .map((entry) => `${folder}/${entry.name}`)
}

async function foldersBelow(folder: string): Promise<string[]> {
  const folders = await foldersIn(folder)
  return [...folders, ...(await Promise.all(folders.map(foldersBelow))).flat()]
}

test('every folder that ARCHITECTURE.md draws is there, and every room is drawn', async () => {
  const drawn = await readTree()
  for (const folder of drawn) await assert.doesNotReject(readdir(join(ROOT, folder)), `${folder} is drawn but absent`)
  const rooms = [
    await foldersBelow('server/src'),
    ...(await Promise.all(['packages', 'cli/src', 'test', 'docs'].map(foldersIn))),
  ]
  for (const room of rooms.flat()) assert.ok(drawn.has(room), `${room} is missing in ARCHITECTURE.md`)
})

test('every endpoint is in ARCHITECTURE.md with a test file that sends requests to it', async () => {
  const text = await readFile(join(ROOT, 'ARCHITECTURE.md'), 'utf8')
  const folders = ROUTE_FOLDERS.map(async (folder) =>
    (await readdir(join(ROOT, folder))).map((file) => ({ folder, file })),
  )
  for (const { folder, file } of (await Promise.all(folders)).flat()) {
    if (file.endsWith('-replies.ts')) continue
    const row = text.split('\n').find((line) => line.split('|').some((cell) => cell.trim() === file))
    assert.ok(row !== undefined, `${file} is not in the table of endpoints`)
    const source = await readFile(join(ROOT, folder, file), 'utf8')
    const methods = [...source.matchAll(/method: (\[.*?\]|'.*?')/g)].flatMap(
      ([, list = '']) => list.match(/[A-Z]+/g) ?? [],
    )
    for (const method of methods)
      assert.ok(row.includes(method), `${file} answers ${method}, the table does not say so`)
    const testFile = /\| (test\/\S+) *\|$/.exec(row)?.[1] ?? ''
    assert.match(await readFile(join(ROOT, testFile), 'utf8'), /test\(/, `${testFile} has no tests`)
  }
})
