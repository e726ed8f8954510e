import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { testBlobStore } from './blob-store.contract.ts'
import { FilesystemStore } from './filesystem-store.ts'

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-store-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  return folder
}

testBlobStore('a folder', async (t) => FilesystemStore.open(await temporaryFolder(t)))

test('content in quarantine is kept as it was', async (t) => {
  const root = await temporaryFolder(t)
  const store = await FilesystemStore.open(root)
  const hex = 'ab'.repeat(32)
  for (const bytes of ['as it was', 'found later']) {
    await store.appendUpload('u', 0, Readable.from([Buffer.from(bytes)]))
    await store.finishUpload('u', `sha256:${hex}`, bytes.length)
    await store.quarantine(`sha256:${hex}`)
    assert.equal(await readFile(join(root, 'quarantine', 'sha256', hex), 'utf8'), bytes)
  }
})

test('the folders are for this user alone', async (t) => {
  const root = join(await temporaryFolder(t), 'data')
  await FilesystemStore.open(root)
  for (const folder of ['blobs', 'uploads']) {
    assert.equal((await stat(join(root, folder))).mode & 0o077, 0)
  }
})
