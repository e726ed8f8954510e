import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readdir, readlink, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type OpenFile, OpenFiles } from './open-files.ts'

const MAX_KEPT = 128

/** A folder, and how many of its files this process has open. */
async function inFolder(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-open-files-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  const countOpen = async () => {
    const descriptors = await readdir('/proc/self/fd')
    const targets = await Promise.all(
      descriptors.map(async (name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
    )
    return targets.filter((target) => target.startsWith(folder)).length
  }
  return { files: new OpenFiles(), path: join(folder, 'a'), other: join(folder, 'b'), folder, countOpen }
}

async function textOf(opened: OpenFile | undefined): Promise<string | undefined> {
  if (opened === undefined) return undefined
  const bytes = Buffer.alloc(opened.status.size)
  await opened.file.read(bytes, 0, bytes.length, 0)
  return bytes.toString()
}

test('a file is opened once for all who read it within five seconds, and closed after that', async (t) => {
  const { files, path, countOpen } = await inFolder(t)
  await writeFile(path, 'content')
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const first = await files.open(path)
  const second = await files.open(path)
  assert.equal(second?.file, first?.file)
  await first?.release()
  await first?.release()
  t.mock.timers.tick(4_999)
  const third = await files.open(path)
  assert.equal(third?.file, first?.file)
  t.mock.timers.tick(1)
  assert.equal(await textOf(second), 'content', 'those who have it may go on')
  await second?.release()
  await third?.release()
  assert.equal(await countOpen(), 0)
})

test('whoever asks gets what is under the path then, whatever was done to it and by whom', async (t) => {
  const { files, path, other } = await inFolder(t)
  const changes: ReadonlyArray<readonly [change: () => Promise<void>, after: string | undefined]> = [
    [async () => appendFile(path, ' and more'), 'content and more'],
    [async () => truncate(path, 3), 'con'],
    [async () => writeFile(path, 'CONTENT'), 'CONTENT'],
    [async () => rm(path), undefined],
    [async () => rename(path, `${path}-aside`), undefined],
    [
      async () => {
        await writeFile(other, 'another')
        await rename(other, path)
      },
      'another',
    ],
  ]
  for (const [change, after] of changes) {
    await writeFile(path, 'content')
    // The clock of a file system goes in steps of some milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 20))
    const before = await files.open(path)
    assert.equal(await textOf(before), 'content')
    await change()
    const now = await files.open(path)
    assert.equal(await textOf(now), after)
    await before?.release()
    await now?.release()
  }
})

test('a file that is forgotten is closed with its last user', async (t) => {
  const { files, path, countOpen } = await inFolder(t)
  await writeFile(path, 'content')
  const opened = await files.open(path)
  await files.forget(path)
  assert.equal(await countOpen(), 1)
  await opened?.release()
  assert.equal(await countOpen(), 0)
  await (await files.open(path))?.release()
  assert.equal(await countOpen(), 1)
  await files.forget(path)
  assert.equal(await countOpen(), 0)
})

test('no more than 128 files are kept open, and of one that is asked for at once, one', async (t) => {
  const { files, folder, countOpen } = await inFolder(t)
  const paths = Array.from({ length: MAX_KEPT + 50 }, (_, index) => join(folder, String(index)))
  for (const path of paths) await writeFile(path, path)
  await Promise.all(
    [...paths, ...paths].map(async (path) => {
      const opened = await files.open(path)
      assert.equal(await textOf(opened), path)
      await opened?.release()
    }),
  )
  assert.equal(await countOpen(), MAX_KEPT)
  for (const path of paths) await files.forget(path)
  assert.equal(await countOpen(), 0)
})
