import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { BUNDLE_FOLDER, fingerprintOf, INPUTS_FILE, ROOT } from './bundle-inputs.ts'

const WORKER_URL = /new URL\('\.\/([\w-]+-worker)\.ts', import\.meta\.url\)/g
/** What `pg` would use if it were installed; and what is loaded on demand, and would lose the names of its exports. */
const UNBUNDLED_PACKAGES = ['pg-native', '@aws-sdk/*']

/** Workers are files of their own: in the bundle they stand beside what starts them, as JavaScript. */
const workersBeside: Plugin = {
  name: 'workers-beside',
  setup: (build) => {
    build.onLoad({ filter: /\/(server|cli)\/src\/.*\.ts$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replace(WORKER_URL, "new URL('./$1.js', import.meta.url)"),
      loader: 'ts',
    }))
  },
}

/**
 * Bundles the program into few files, which start in less than two thirds of the time of a thousand, and writes down
 * which sources they were made of. Run by `npm ci`.
 */
async function bundle(): Promise<void> {
  rmSync(BUNDLE_FOLDER, { recursive: true, force: true })
  mkdirSync(BUNDLE_FOLDER, { recursive: true })
  const workers = readdirSync(join(ROOT, 'server/src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('-worker.ts'))
    .map((path) => ({ in: join(ROOT, 'server/src', path), out: basename(path, '.ts') }))
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [{ in: join(ROOT, 'cli/src/main.ts'), out: 'main' }, ...workers],
    outdir: BUNDLE_FOLDER,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    external: UNBUNDLED_PACKAGES,
    plugins: [workersBeside],
    banner: {
      js: "import{createRequire as bundledRequire}from'node:module';const require=bundledRequire(import.meta.url);",
    },
    sourcemap: 'linked',
    sourcesContent: false,
    metafile: true,
    // Node.js keeps the text in memory: without comments and spaces it is half as long.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    lineLimit: 160,
    logLevel: 'warning',
  })
  const sources = Object.keys(metafile.inputs).filter((path) => !path.includes('node_modules/'))
  // Last: without it the bundle does not count.
  writeFileSync(INPUTS_FILE, JSON.stringify(fingerprintOf([...sources, 'package-lock.json'])))
}

await bundle()
