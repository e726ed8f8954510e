import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** As deep as `cli/src`, since the command line looks for `package.json` from there. */
export const BUNDLE_FOLDER = `${ROOT}build/program`
export const INPUTS_FILE = `${BUNDLE_FOLDER}/inputs.json`

/**
 * Files, relative to the root, with what shows that one of them was changed: its size and its time of change, in whole
 * seconds, since layers of container images keep no more.
 */
export function fingerprintOf(paths: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    paths.map((path) => {
      const { size, mtimeMs } = statSync(ROOT + path, { throwIfNoEntry: false }) ?? { size: 0, mtimeMs: 0 }
      return [path, `${size} ${Math.floor(mtimeMs / 1000)}`]
    }),
  )
}

/** Whether there is a bundle, and every source is as it was when it was made. */
export function isBundleCurrent(): boolean {
  let recorded: unknown
  try {
    recorded = JSON.parse(readFileSync(INPUTS_FILE, 'utf8'))
  } catch {
    return false
  }
  if (typeof recorded !== 'object' || recorded === null) return false
  const current = fingerprintOf(Object.keys(recorded))
  return Object.entries(recorded).every(([path, fingerprint]) => current[path] === fingerprint)
}
