import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { randomBlob } from '../content.ts'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { DistributionStore } from './distribution-store.ts'

const IMAGES = 400
const LAYERS = 9
/** Of the fastest of so many. */
const ROUNDS = 3
/** Between 1 and 2.2 were measured, by the disk: 11,000 contents in 2.3 to 4.5 s. */
const MAX_RATIO = 4

function milliseconds(start: number): number {
  return performance.now() - start
}

test('an import by hard links takes no more than 4 times as long as linking the files and hashing them, without a sync', async (t) => {
  const folder = await temporaryFolder(t)
  const source = new DistributionStore(join(folder, 'registry'))
  for (let image = 0; image < IMAGES; image++) {
    const layers = Array.from({ length: LAYERS }, () => randomBlob(2_000))
    await source.addImage(`team/app-${image % 4}`, `v${image}`, layers)
  }
  execFileSync('sync')
  const [copies, data] = [join(folder, 'copies'), join(folder, 'data')]
  const started: number[] = []
  const linked: number[] = []
  const imported: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    let start = performance.now()
    execFileSync('sh', [
      '-c',
      `cp -al "$0" "$1" && find "$1" -type f -exec sha256sum {} + >/dev/null`,
      source.folder,
      copies,
    ])
    linked.push(milliseconds(start))
    start = performance.now()
    await entrepot(['version'])
    started.push(milliseconds(start))
    start = performance.now()
    const { code, stderr } = await entrepot(['import', 'distribution', source.folder], {
      env: { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: data },
    })
    imported.push(milliseconds(start))
    assert.equal(code, 0, stderr)
    for (const made of [copies, data]) await rm(made, { recursive: true })
  }
  const took = Math.min(...imported) - Math.min(...started)
  const ratio = took / Math.min(...linked)
  t.diagnostic(`${Math.round((IMAGES * (LAYERS + 2) * 1_000) / took)} contents a second, ${ratio.toFixed(1)} times`)
  assert.ok(ratio < MAX_RATIO, `${took} ms instead of ${Math.min(...linked)} ms`)
})
