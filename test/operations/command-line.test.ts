import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { record } from '../registry-client.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'

const MANIFEST = new URL('../../package.json', import.meta.url)

/** The commands that a help text lists, but for `help` itself. */
function commandsIn(help: string): string[] {
  const list = /\nCommands:\n((?: .*\n)+)/.exec(help)?.[1] ?? ''
  return [...list.matchAll(/^ {2}([a-z-]+)/gm)].flatMap(([, name]) =>
    name === undefined || name === 'help' ? [] : [name],
  )
}

test('every command tells with --help what it does, what it takes and an example', async () => {
  const seen: string[] = []
  const visit = async (words: string[]): Promise<void> => {
    const { code, stdout, stderr } = await entrepot([...words, '--help'])
    assert.equal(code, 0, stderr)
    assert.equal(stderr, '')
    assert.match(stdout, new RegExp(`^Usage: ${['entrepot', ...words].join(' ')}\\b`))
    assert.match(stdout, /\n\n\w.{15,}\n/, `${words.join(' ')} says nothing about itself`)
    assert.match(stdout, /-h, --help +print this help/)
    assert.doesNotMatch(stdout, /\n {2}[^\n]+?\s{2,}\n/, 'an option or a command without a description')
    const children = commandsIn(stdout)
    if (children.length === 0) assert.match(stdout, /\n {2}(?:\S+=\S+ )?entrepot \w+/, 'a command without an example')
    seen.push(words.join(' '))
    await Promise.all(children.map(async (child) => visit([...words, child])))
  }
  await visit([])
  assert.deepEqual(seen.toSorted(), [
    '',
    'backup',
    'config',
    'config check',
    'config print',
    'export',
    'export docker-archive',
    'export oci-layout',
    'fsck',
    'gc',
    'import',
    'import distribution',
    'import docker-archive',
    'import oci-layout',
    'job',
    'job cancel',
    'job list',
    'job logs',
    'job retry',
    'job show',
    'migrate',
    'migrate metadata',
    'restore',
    'serve',
    'trash',
    'trash empty',
    'trash list',
    'trash restore',
    'version',
  ])
})

test('the help and package.json say what is kept: images and other OCI artifacts, as long as there are no packages', async () => {
  const { description } = record(JSON.parse(await readFile(MANIFEST, 'utf8')))
  assert.equal(description, 'A self-hosted registry for container images and other OCI artifacts')
  const { stdout } = await entrepot(['--help'])
  assert.match(stdout, /^A registry for container images and other OCI artifacts\.$/m)
})

test('the version is the one in package.json, for people and for machines', async () => {
  const { version } = record(JSON.parse(await readFile(MANIFEST, 'utf8')))
  for (const args of [['version'], ['--version'], ['-V']]) {
    assert.deepEqual(await entrepot(args), { code: 0, stdout: `entrepot ${String(version)}\n`, stderr: '' })
  }
  const { code, stdout } = await entrepot(['version', '--json'])
  assert.equal(code, 0)
  const parsed = record(JSON.parse(stdout))
  assert.equal(parsed['version'], version)
  assert.match(String(parsed['node']), /^\d+\.\d+\.\d+$/)
})

test('a wrong call ends with 2 and names the help that tells the right one', async (t) => {
  const calls: [string, RegExp][] = [
    ['bogus', /unknown command 'bogus'[^]*"entrepot --help"/],
    ['serv', /Did you mean serve\?/],
    ['confg check', /Did you mean config\?/],
    ['--bogus', /unknown option '--bogus'[^]*"entrepot --help"/],
    ['serve --bogus', /unknown option '--bogus'[^]*"entrepot serve --help"/],
    ['serve one.yml two.yml', /too many arguments[^]*"entrepot serve --help"/],
    ['config bogus', /unknown command 'bogus'[^]*"entrepot config --help"/],
    ['config chekc', /Did you mean check\?/],
    ['config check --jsn', /Did you mean --json\?/],
    ['config check one.yml two.yml', /too many arguments[^]*"entrepot config check --help"/],
    ['config print --bogus', /unknown option '--bogus'[^]*"entrepot config print --help"/],
    ['version 1', /too many arguments[^]*"entrepot version --help"/],
  ]
  for (const [call, message] of calls) {
    await t.test(`entrepot ${call}`, async () => {
      const { code, stdout, stderr } = await entrepot(call.split(' '))
      assert.equal(code, 2)
      assert.equal(stdout, '')
      assert.match(stderr, message)
      assert.doesNotMatch(stderr, /^ +at /m)
    })
  }
})

test('without a command, what there is to say is listed, and the exit code is 2', async () => {
  for (const args of [[], ['config']]) {
    const { code, stderr } = await entrepot(args)
    assert.equal(code, 2)
    assert.match(stderr, /\nCommands:\n/)
  }
})

test('config check says that a configuration is valid, and what it passes over', async (t) => {
  const folder = await temporaryFolder(t)
  const file = await writeConfig(folder, 'version: 0.1\nstorage:\n  cache: {blobdescriptor: inmemory}\n')
  const shown = await entrepot(['config', 'check', file])
  assert.equal(shown.code, 0, shown.stderr)
  assert.match(shown.stdout, /^warning: storage\.cache .*\nthe configuration is valid\n$/)
  const { stdout } = await entrepot(['config', 'check', '--json', file])
  const { valid, problems, warnings } = record(JSON.parse(stdout))
  assert.deepEqual([valid, problems], [true, []])
  assert.ok(Array.isArray(warnings) && warnings.length === 1)
})

test('config check fails with each problem, its line and the nearest key, for people and for machines', async (t) => {
  const file = await writeConfig(await temporaryFolder(t), 'version: 0.1\nhttp:\n  adr: 127.0.0.1:5000\n')
  const shown = await entrepot(['config', 'check', file])
  assert.deepEqual(shown, {
    code: 1,
    stdout: '',
    stderr: `entrepot: ${file}:3: http.adr: there is no such key; did you mean "addr"?\n`,
  })
  const { code, stdout } = await entrepot(['config', 'check', '--json', file])
  assert.equal(code, 1)
  assert.deepEqual(JSON.parse(stdout), {
    valid: false,
    problems: [{ path: 'http.adr', line: 3, message: 'there is no such key', suggestion: 'addr' }],
    warnings: [],
  })
})

test('what config print prints is a configuration that prints the same', async (t) => {
  const folder = await temporaryFolder(t)
  const env = {
    REGISTRY_HTTP_ADDR: '127.0.0.1:5055',
    REGISTRY_HTTP_HEADERS: '{X-Content-Type-Options: [nosniff], X-Zero: ["0"]}',
    REGISTRY_HTTP_TLS: '{certificate: ./cert.pem, key: ./key.pem, clientcas: [ca.pem]}',
    REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE: '1h30m',
    REGISTRY_HEALTH_HTTP: '[{uri: "http://127.0.0.1:1/", timeout: 1500ms}]',
    REGISTRY_HEALTH_TCP: '[{addr: "[::1]:6379"}]',
    REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW: '["^https://[^/]+/x:y#z"]',
    REGISTRY_LOG_FIELDS: '{service: "yes", shard: 7, empty: ""}',
  }
  const first = await entrepot(['config', 'print'], { env, cwd: folder })
  assert.equal(first.code, 0, first.stderr)
  assert.match(first.stdout, /^ {2}addr: 127\.0\.0\.1:5055$/m)
  assert.match(first.stdout, /^ {6}age: 90m$/m)
  const file = await writeConfig(folder, first.stdout)
  assert.deepEqual(await entrepot(['config', 'print', file]), first)
  const [fromVariables, fromFile] = await Promise.all([
    entrepot(['config', 'print', '--json'], { env, cwd: folder }),
    entrepot(['config', 'print', '--json', file]),
  ])
  assert.deepEqual(JSON.parse(fromFile.stdout), JSON.parse(fromVariables.stdout))
})

test('config print fails for a configuration that serve would refuse, and prints nothing', async (t) => {
  const file = await writeConfig(await temporaryFolder(t), 'version: 0.2\n')
  assert.deepEqual(await entrepot(['config', 'print', file]), {
    code: 1,
    stdout: '',
    stderr: `entrepot: ${file}:1: version: expected 0.1\n`,
  })
})
