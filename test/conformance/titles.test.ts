import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import { test } from 'node:test'

const SOURCES = /\b(?:spec|image-spec|extension) "|\bRFC \d|\bDocker: |\bcontent-negotiation: /

test('the table of requirements and the tests tell of each other', async () => {
  const folder = new URL('.', import.meta.url)
  const written = new Set<string>()
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.test.ts') || file === 'titles.test.ts') continue
    const source = await readFile(new URL(file, folder), 'utf8')
    for (const [, , title = ''] of source.matchAll(/(['`])((?:(?!\1)[^\n])+)\1/g)) {
      if (title.search(SOURCES) === 0)
        written.add(title.replace('${algorithm}', 'sha256, sha512').replace(/\$\{.*?\}/, '…'))
    }
  }
  const table = await readFile(new URL('README.md', folder), 'utf8')
  const told = table
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => (line.split('|')[3] ?? '').trim())
    .filter((title) => title.search(SOURCES) === 0)
  assert.ok(written.size > 150, `${written.size} titles`)
  assert.deepEqual([...new Set(told)].toSorted(), [...written].toSorted())
})
