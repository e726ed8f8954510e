import { cp, mkdir, readdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from './command.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Copies this checkout, without a bundle, into a folder that is removed when the test ends, and gives that. */
export async function copyCheckout(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t)
  for (const path of ['bin', 'cli', 'server', 'packages', 'package.json', 'package-lock.json']) {
    await cp(join(ROOT, path), join(root, path), { recursive: true })
  }
  // The packages of this checkout, but the workspaces of that one.
  await mkdir(join(root, 'node_modules'))
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    await symlink(join(ROOT, 'node_modules', name), join(root, 'node_modules', name))
  }
  await rm(join(root, 'node_modules/@entrepot'))
  await cp(join(ROOT, 'node_modules/@entrepot'), join(root, 'node_modules/@entrepot'), {
    recursive: true,
    verbatimSymlinks: true,
  })
  return root
}
