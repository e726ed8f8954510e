import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig } from '@entrepot/server/config'
import { guideNames, readBlocks } from './guide-text.ts'

test('every guide has the same commands, files and outputs in English and in Chinese', async () => {
  for (const name of await guideNames()) {
    const blocks = async (language: 'en' | 'zh') =>
      (await readBlocks(name, language)).map((block) => `\`\`\`${block.language}\n${block.text}`)
    assert.deepEqual(await blocks('zh'), await blocks('en'), name)
  }
})

test('every configuration in a guide is accepted as it stands', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-guide-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'config.yml')
  let checked = 0
  for (const name of await guideNames()) {
    for (const block of await readBlocks(name, 'en')) {
      if (block.language !== 'yaml') continue
      await writeFile(file, block.text)
      assert.doesNotThrow(() => loadConfig({ file, env: {} }), `${name}, under "${block.heading}"`)
      checked += 1
    }
  }
  assert.ok(checked > 0)
})
