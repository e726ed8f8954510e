import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { generatedPages } from '../docs/reference/pages.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const ROUTE_FOLDERS = ['server/src/formats/oci/routes', 'server/src/platform/http', 'server/src/management/routes']

const readText = async (path: string) => readFile(join(ROOT, path), 'utf8')

test('the generated reference says what the sources say', async () => {
  for (const [file, text] of generatedPages()) {
    assert.equal(await readText(`docs/reference/${file}`), text, `${file} is stale: run "npm run docs" and commit it`)
  }
})

test('the reference of the API lists every route with its methods and its right, in both languages', async () => {
  const routes = await readRoutes()
  assert.ok(routes.length > 15, 'the sources have routes')
  for (const file of ['api.md', 'api.zh-CN.md']) {
    const rows = (await readText(`docs/reference/${file}`)).split('\n')
    for (const { methods, url, right } of routes) {
      const row = rows.find((line) => line.includes(`\`${url}\``) && line.startsWith(`| ${methods} `))
      assert.ok(row !== undefined, `${file} does not list ${methods} ${url}`)
      const shown = row.split('|')[2]?.trim()
      const expected = right === 'public' ? ['none', '无'] : [right]
      assert.ok(expected.includes(shown ?? ''), `${file} gives another right for ${methods} ${url}`)
    }
  }
})

interface Route {
  readonly methods: string
  readonly url: string
  readonly right: string
}

async function readRoutes(): Promise<Route[]> {
  const files = (await Promise.all(ROUTE_FOLDERS.map(async (folder) => readFolder(folder)))).flat()
  const routes: Route[] = []
  for (const file of files) {
    const source = await readText(file)
    for (const [, list = '', target = '', rights = ''] of source.matchAll(
      /method: (\[.*?\]|'.*?'),\s+url(?:: ([^\n]+))?,\s+config: \{ right: ([^,]+),/g,
    )) {
      const methods = (list.match(/[A-Z]+/g) ?? []).join(', ')
      const urls = target.startsWith("'") ? [target.slice(1, -1)] : operationUrls(target)
      const right = rights.startsWith("'") ? rights.slice(1, -1) : 'metrics'
      routes.push(...urls.map((url) => ({ methods, url: url.replaceAll(/:(\w+)/g, '<$1>'), right })))
    }
  }
  return routes
}

/** Where a route's URL is a variable: those of health, which share one handler, and the configured one of metrics. */
function operationUrls(variable: string): string[] {
  return variable === '' ? ['/readyz', '/debug/health'] : ['/metrics']
}

async function readFolder(folder: string): Promise<string[]> {
  const files = await readdir(join(ROOT, folder))
  return files.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts')).map((file) => `${folder}/${file}`)
}

test('every link within the documents leads to a file that is there', async () => {
  const folders = ['.', 'docs', 'docs/decisions', 'docs/guide', 'docs/reference', 'test/conformance']
  for (const folder of folders) {
    const files = (await readdir(join(ROOT, folder))).filter((file) => file.endsWith('.md'))
    for (const file of files) {
      const text = await readText(join(folder, file))
      for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
        const path = join(ROOT, folder, target)
        const names = await readdir(dirname(path)).catch(() => [])
        assert.ok(target.endsWith('/') || names.some((name) => path.endsWith(name)), `${folder}/${file}: ${target}`)
      }
    }
  }
})

test('every test that the page on durability names is there', async () => {
  const tests = await readdir(join(ROOT, 'test/faults'))
  for (const page of ['durability.md', 'durability.zh-CN.md']) {
    const named = [...(await readText(join('docs/reference', page))).matchAll(/`([a-z0-9-]+\.test\.ts)`/g)]
    assert.ok(named.length > 10, page)
    for (const [, name = ''] of named) assert.ok(tests.includes(name), `${page}: ${name}`)
  }
})
