import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { outputOf } from '../programs.ts'

const VERSION = '3.1.2'
const MODULE = `github.com/distribution/distribution/v3/cmd/registry@v${VERSION}`
const BUILD_TIMEOUT_MS = 300_000

/** A program that was found, or the reason why its column is missing. */
export type Found = { readonly file: string; readonly version: string } | { readonly missingBecause: string }

/**
 * Finds distribution 3.1.2 in the cache, or has the Go toolchain build the published module into it, which takes about
 * a minute once.
 */
export async function findDistribution3(): Promise<Found> {
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'entrepot-bench', VERSION)
  const file = join(folder, 'registry')
  if (!existsSync(file)) {
    console.error(`Building distribution ${VERSION} from its Go module, about a minute ...`)
    try {
      await promisify(execFile)('go', ['install', MODULE], {
        env: { ...process.env, GOBIN: folder },
        timeout: BUILD_TIMEOUT_MS,
      })
    } catch (error) {
      return { missingBecause: `its Go module could not be built: ${firstSentence(error)}` }
    }
  }
  const goVersion = /go\d[\d.]*/.exec(outputOf('go', ['version', file]) ?? '')?.[0] ?? 'an unknown Go'
  return { file, version: `${VERSION}, built with ${goVersion}` }
}

function firstSentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.includes('ENOENT') ? 'there is no `go` command' : (text.split('\n')[1] ?? text)
}
