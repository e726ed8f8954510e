import assert from 'node:assert/strict'
import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const LISTS = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']

test('docs/dependencies.md lists every dependency, where it is used and its licence, and nothing else', async () => {
  const listed = new Map<string, { workspace: string; licence: string }>()
  const text = await readFile(join(ROOT, 'docs/dependencies.md'), 'utf8')
  for (const [, name = '', ...cells] of text.matchAll(/^\| `(\S+)` +\| (.+?) +\| (.+?) +\| (.+?) +\| (.+?) +\|/gm)) {
    const [workspace = '', , , licence = ''] = cells
    listed.set(name, { workspace, licence })
  }

  const used = new Map<string, { workspace: string; licence: string }>()
  const files = await Array.fromAsync(glob(['package.json', '{server,cli,packages/*}/package.json'], { cwd: ROOT }))
  for (const file of files.toSorted()) {
    const manifest = await readJson(join(ROOT, file))
    for (const name of LISTS.flatMap((list) => Object.keys(sectionOf(manifest, list)))) {
      if (name.startsWith('@entrepot/')) continue
      const installed = await readJson(join(ROOT, 'node_modules', name, 'package.json'))
      const workspace = file === 'package.json' ? 'root' : file.replace('/package.json', '')
      const workspaces = [used.get(name)?.workspace, workspace].filter((one) => one !== undefined)
      used.set(name, { workspace: workspaces.join(', '), licence: String(installed['license']) })
    }
  }
  assert.deepEqual(Object.fromEntries(listed), Object.fromEntries(used))
})

async function readJson(file: string): Promise<Record<string, unknown>> {
  const value: unknown = JSON.parse(await readFile(file, 'utf8'))
  assert.ok(isRecord(value), `${file} is no object`)
  return value
}

function sectionOf(manifest: Record<string, unknown>, list: string): Record<string, unknown> {
  const section = manifest[list]
  return isRecord(section) ? section : {}
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
