import assert from 'node:assert/strict'
import { appendFile, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { freePort } from '../harness.ts'
import { copyCheckout } from './checkout.ts'
import { entrepot, writeConfig } from './command.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MARK = 'said by the bundle'

/** A checkout of its own whose bundle, just made, says that it runs. */
async function bundledCheckout(t: TestContext) {
  const root = await copyCheckout(t)
  const made = await entrepot([join(root, 'bin/bundle.ts')], { launcher: join(ROOT, 'node_modules/node/bin/node') })
  assert.deepEqual(made, { code: 0, stdout: '', stderr: '' })
  const main = join(root, 'build/program/main.js')
  await writeFile(main, `process.stderr.write(${JSON.stringify(MARK)})\n${await readFile(main, 'utf8')}`)
  const version = async () => {
    const { code, stdout, stderr } = await entrepot(['version'], { launcher: join(root, 'bin/entrepot') })
    assert.deepEqual({ code, stdout }, { code: 0, stdout: expected.stdout })
    return stderr
  }
  const expected = await entrepot(['version'])
  return { root, version }
}

test('the bundle runs as long as it was made of the sources as they are, and the sources after a change of any', async (t) => {
  const { root, version } = await bundledCheckout(t)
  assert.equal(await version(), MARK)

  const source = join(root, 'server/src/core/blobs/turns.ts')
  await appendFile(source, '\n')
  assert.equal(await version(), '', 'a source was edited')
})

test('the bundle is plain ASCII, since one other character doubles the memory that its text takes', async (t) => {
  const { root } = await bundledCheckout(t)
  const folder = join(root, 'build/program')
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.js'))) {
    assert.doesNotMatch(await readFile(join(folder, name), 'utf8'), /[^\0-\x7F]/, name)
  }
})

test('the bundle loads what a bucket needs, as the sources do', async (t) => {
  const { root } = await bundledCheckout(t)
  const s3 = { bucket: 'registry', region: 'us-east-1', regionendpoint: `http://127.0.0.1:${await freePort()}` }
  const storage = { filesystem: { rootdirectory: join(root, 'data') }, s3: { ...s3, accesskey: 'a', secretkey: 'b' } }
  const http = { addr: '127.0.0.1:0' }
  const file = await writeConfig(root, JSON.stringify({ version: '0.1', storage, http }))
  const { code, stderr } = await entrepot(['serve', file], { launcher: join(root, 'bin/entrepot') })
  assert.equal(code, 1)
  assert.ok(stderr.startsWith(MARK), stderr)
  assert.match(stderr, /ECONNREFUSED/)
})

test('a source that was put back from elsewhere, older than the bundle, counts as changed', async (t) => {
  const { root, version } = await bundledCheckout(t)
  await utimes(join(root, 'cli/src/main.ts'), new Date(1_000_000), new Date(1_000_000))
  assert.equal(await version(), '')
})

test('other packages than the bundle was made with count as changed, and so does a bundle that was not finished', async (t) => {
  const { root, version } = await bundledCheckout(t)
  const inputs = join(root, 'build/program/inputs.json')
  const recorded = await readFile(inputs, 'utf8')
  await writeFile(inputs, recorded.slice(0, 100))
  assert.equal(await version(), '', 'what it was made of is not known')
  await writeFile(inputs, recorded)
  assert.equal(await version(), MARK)
  await utimes(join(root, 'package-lock.json'), new Date(2_000_000), new Date(2_000_000))
  assert.equal(await version(), '', 'other packages')
})
