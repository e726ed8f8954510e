import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { testBlobStore } from './blob-store.contract.ts'
import { FilesystemStore } from './filesystem-store.ts'

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-store-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  return folder
}

testBlobStore('a folder', async (t) => FilesystemStore.open(await temporaryFolder(t)))

test('the folders are for this user alone', async (t) => {
  const root = join(await temporaryFolder(t), 'data')
  await FilesystemStore.open(root)
  for (const folder of ['blobs', 'uploads']) {
    assert.equal((await stat(join(root, folder))).mode & 0o077, 0)
  }
})
