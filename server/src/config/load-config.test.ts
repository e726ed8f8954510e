import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { ConfigError, configToDocument, loadConfig, printConfig } from './index.ts'
import { KNOWN_KEYS } from './known-keys.ts'
import { keysOf, SCHEMA_NODES } from './schema-tree.ts'

const FOLDER = mkdtempSync(join(tmpdir(), 'entrepot-config-'))
const FILE = join(FOLDER, 'config.yml')
after(() => rmSync(FOLDER, { recursive: true }))

/** For each key a value that is not its default, as it stands in a file. */
const SAMPLES: Readonly<Record<string, unknown>> = {
  version: '0.1',
  'log.level': 'debug',
  'log.formatter': 'json',
  'log.fields': { service: 'one', shard: 7, primary: true },
  'log.accesslog.disabled': true,
  'storage.filesystem.rootdirectory': '1',
  'storage.s3.bucket': 'registry',
  'storage.s3.region': 'eu-central-1',
  'storage.s3.regionendpoint': 'https://s3.example.com',
  'storage.s3.forcepathstyle': false,
  'storage.s3.accesskey': 'AKIAEXAMPLE',
  'storage.s3.secretkey': 's3cret',
  'storage.s3.sessiontoken': '12',
  'storage.s3.encrypt': true,
  'storage.s3.keyid': 'arn:aws:kms:eu-central-1:1:key/2',
  'storage.s3.secure': false,
  'storage.s3.skipverify': true,
  'storage.s3.chunksize': 5_242_880,
  'storage.s3.rootdirectory': '/one/two',
  'storage.s3.storageclass': 'STANDARD_IA',
  'storage.s3.objectacl': 'bucket-owner-full-control',
  'storage.s3.usedualstack': true,
  'storage.s3.accelerate': true,
  'storage.delete.enabled': true,
  'storage.verification.reads': 'size',
  'storage.verification.age': '48h',
  'storage.maintenance.uploadpurging.enabled': false,
  'storage.maintenance.uploadpurging.age': '12h',
  'storage.maintenance.uploadpurging.interval': '90s',
  'storage.maintenance.garbagecollection.enabled': false,
  'storage.maintenance.garbagecollection.age': '36h',
  'storage.maintenance.garbagecollection.interval': '10m',
  'storage.maintenance.garbagecollection.schedule': '30 3 * * *',
  'storage.maintenance.garbagecollection.rate': 50,
  'storage.maintenance.uploadpurging.dryrun': true,
  'storage.maintenance.trash.age': '2h',
  'storage.maintenance.untagged.enabled': true,
  'storage.maintenance.untagged.age': '720h',
  'storage.maintenance.untagged.dryrun': true,
  'storage.maintenance.reserve': 0,
  'storage.maintenance.readonly.enabled': true,
  'database.url': 'postgres://entrepot:s%40cret@one.example,two.example:5433/metadata?sslmode=verify-full',
  'database.connections': 7,
  'database.statementtimeout': '20s',
  'database.locktimeout': '3s',
  'http.addr': '127.0.0.1:5055',
  'http.net': 'tcp',
  'http.host': 'https://registry.example.com',
  'http.prefix': '/nested/registry/',
  'http.relativeurls': true,
  'http.headers': { 'x-content-type-options': ['nosniff'], 'x-two': ['a', 'b'] },
  'http.sendfile': false,
  'http.draintimeout': '1500ms',
  'http.tls.certificate': '/etc/cert.pem',
  'http.tls.key': '/etc/key.pem',
  'http.tls.clientcas': ['/etc/ca.pem', '1'],
  'http.tls.clientauth': 'require-and-verify-client-cert',
  'http.tls.minimumtls': 'tls1.3',
  'http.tls.ciphersuites': ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384'],
  'http.http2.disabled': true,
  'http.debug.addr': 'localhost:5001',
  'http.debug.prometheus.enabled': true,
  'http.debug.prometheus.path': '/prometheus',
  'auth.anonymous': ['pull', 'push'],
  'health.storagedriver.enabled': false,
  'health.storagedriver.interval': '1m',
  'health.storagedriver.threshold': 5,
  'health.file': [{ file: '/down', interval: '1s', threshold: 2 }],
  'health.http': [
    { uri: 'http://a.example/', statuscode: 204, headers: { a: ['b'] }, interval: '3s', timeout: '2s', threshold: 1 },
  ],
  'health.tcp': [
    { addr: 'redis.example:6379', interval: '3s', timeout: '2s', threshold: 1 },
    { addr: '[::1]:6379', interval: '4s', timeout: '1s', threshold: 2 },
  ],
  'validation.enabled': true,
  'validation.disabled': true,
  'validation.manifests.urls.allow': ['^https://a/[\\\\/]', '\\\\\\/'],
  'validation.manifests.urls.deny': ['^http:'],
  'validation.manifests.indexes.platforms': 'list',
  'validation.manifests.indexes.platformlist': [{ os: 'linux', architecture: 'arm64' }],
  'catalog.maxentries': 7,
  'limits.manifestsize': 1024,
  'limits.tagsperpush': 2,
  'limits.pagesize': 3,
  'limits.chunksize': 4096,
  'limits.uploads': 4,
  'limits.headertimeout': '1s',
  'limits.bodyidletimeout': '2s',
  'limits.keepalivetimeout': '3s',
  'storage.redirect.disable': true,
  'middleware.storage': [
    {
      name: 'cloudfront',
      disabled: true,
      options: {
        baseurl: 'https://d111111abcdef8.cloudfront.net/',
        keypairid: 'K1',
        privatekey: '/etc/cdn.pem',
        duration: '50m',
        ipfilteredby: 'none',
      },
    },
  ],
  'cdn.baseurl': 'https://cdn.example.com',
  'cdn.edgeTtl': 60,
  'cdn.browserTtl': 0,
  'cdn.signing.type': 'alibaba',
  'cdn.signing.secret': 's%3Acret',
  'cdn.signing.keypairid': 'K2',
  'cdn.signing.privatekey': '/etc/cdn.pem',
  'cdn.signing.duration': '5m',
  'cdn.purge.provider': 'cloudflare',
  'cdn.purge.zone': '023e105f4ecef8ad9ca31a8372d0c353',
  'cdn.purge.token': 't0ken',
  'cdn.purge.api': 'http://127.0.0.1:8080/client/v4',
  'jobs.concurrency': 2,
  'jobs.lease': '10s',
}
const KEYS = Object.keys(SAMPLES)
/** Keys that are not complete without others. */
const COMPANIONS: readonly { readonly of: RegExp; readonly keys: readonly string[] }[] = [
  { of: /^http\.tls\./, keys: ['http.tls.certificate', 'http.tls.key'] },
  { of: /^storage\.s3\./, keys: ['bucket', 'region', 'accesskey', 'secretkey'].map((key) => `storage.s3.${key}`) },
  { of: /^cdn\.signing\.type$/, keys: ['cdn.signing.secret'] },
  { of: /^cdn\.purge\.provider$/, keys: ['cdn.purge.zone', 'cdn.purge.token', 'cdn.baseurl'] },
]

/** The keys with those that they are not complete without. */
function completed(keys: readonly string[]): string[] {
  const needed = COMPANIONS.filter(({ of }) => keys.some((key) => of.test(key)))
  return [...new Set([...needed.flatMap((companions) => companions.keys), ...keys])]
}

function loadText(text: string, env: Record<string, string> = {}) {
  writeFileSync(FILE, text)
  return loadConfig({ file: FILE, env })
}

function problemsOf(text: string, env: Record<string, string> = {}) {
  try {
    loadText(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

/** A file, in JSON, which is YAML, with these keys. */
function documentOf(keys: readonly string[]): string {
  const document: Record<string, unknown> = { version: '0.1' }
  for (const key of keys) {
    const path = key.split('.')
    let section: Record<string, unknown> = document
    for (const name of path.slice(0, -1)) {
      const inner: Record<string, unknown> = Object.fromEntries(Object.entries(section[name] ?? {}))
      section[name] = inner
      section = inner
    }
    section[path.at(-1) ?? ''] = SAMPLES[key]
  }
  return JSON.stringify(document, null, 2)
}

/** A variable for each key; with `byElement` one for each element of a list, with `byField` one for each of its keys. */
function variablesOf(keys: readonly string[], style?: 'byElement' | 'byField'): Record<string, string> {
  return Object.fromEntries(
    keys.flatMap((key) => split(`REGISTRY_${key.replaceAll('.', '_').toUpperCase()}`, SAMPLES[key], style)),
  )
}

function split(name: string, value: unknown, style?: 'byElement' | 'byField'): [string, string][] {
  if (style === undefined || !Array.isArray(value)) {
    return [[name, typeof value === 'string' ? value : JSON.stringify(value)]]
  }
  return value.flatMap((element: unknown, index) =>
    style === 'byField' && typeof element === 'object' && element !== null
      ? Object.entries(element).flatMap(([key, field]) => split(`${name}_${index}_${key.toUpperCase()}`, field))
      : split(`${name}_${index}`, element),
  )
}

test('every key can be set by its variable, and every list by one for each element, to the same as in a file', () => {
  const keys = SCHEMA_NODES.filter((node) => node.kind === 'value' || node.kind === 'map').map((node) => node.path)
  assert.deepEqual(KEYS.toSorted(), keys.map((path) => path.join('.')).toSorted(), 'each key needs a sample')
  const plain = configToDocument(loadText('version: 0.1').config)
  for (const key of KEYS) {
    const set = completed([key])
    const fromFile = configToDocument(loadText(documentOf(set)).config)
    const fromVariable = configToDocument(loadText('version: 0.1', variablesOf(set)).config)
    assert.deepEqual(fromVariable, fromFile, key)
    for (const style of ['byElement', 'byField'] as const) {
      const { config, warnings } = loadText('version: 0.1', variablesOf(set, style))
      assert.deepEqual(configToDocument(config), fromFile, `${key} ${style}`)
      assert.deepEqual(warnings, [], key)
    }
    const isOnlyChoice = ['version', 'http.net', 'http.tls.clientauth'].includes(key)
    if (!isOnlyChoice) assert.notDeepEqual(fromVariable, plain, `${key} changes nothing`)
  }
})

test('variables, a file, and any mixture of both give the same configuration, and so does what is printed of it', () => {
  const choice = fc.record({
    keys: fc.subarray(KEYS),
    fromFile: fc.subarray(KEYS),
    style: fc.constantFrom(undefined, 'byElement' as const, 'byField' as const),
  })
  fc.assert(
    fc.property(choice, ({ keys, fromFile, style }) => {
      const set = completed(keys)
      const { config } = loadText(documentOf(set))
      const inForce = configToDocument(config)
      const mixed = loadText(
        documentOf(set.filter((key) => fromFile.includes(key))),
        variablesOf(
          set.filter((key) => !fromFile.includes(key)),
          style,
        ),
      )
      assert.deepEqual(configToDocument(mixed.config), inForce)
      assert.deepEqual(configToDocument(loadText(printConfig(config)).config), inForce)
    }),
  )
})

/** Everything that is one change of a letter away. */
const typoOf = (key: string) =>
  fc
    .record({
      kind: fc.constantFrom('drop', 'double', 'swap', 'replace'),
      at: fc.nat({ max: key.length - 1 }),
      letter: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz'.split('')),
    })
    .map(({ kind, at, letter }) => {
      const [before, own, after] = [key.slice(0, at), key[at] ?? '', key.slice(at + 1)]
      if (kind === 'drop') return before + after
      if (kind === 'double') return before + own + own + after
      if (kind === 'swap') return before + after.slice(0, 1) + own + after.slice(1)
      return before + letter + after
    })

function areOneTypoApart(one: string, other: string): boolean {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  if (long.length - short.length > 1) return false
  let start = 0
  while (start < short.length && short[start] === long[start]) start++
  if (short.length < long.length) return short.slice(start) === long.slice(start + 1)
  const swapped = short.slice(0, start) + (short[start + 1] ?? '') + (short[start] ?? '') + short.slice(start + 2)
  return short.slice(start + 1) === long.slice(start + 1) || swapped === long
}

test('a key with one letter wrong is reported on its line, with the key that was meant', () => {
  const places = SCHEMA_NODES.filter(({ kind }) => kind !== 'entry').map((node) => node.path)
  const typo = fc.constantFrom(...places).chain((path) => fc.tuple(fc.constant(path), typoOf(path.at(-1) ?? '')))
  fc.assert(
    fc.property(typo, ([path, wrong]) => {
      const parent = path.slice(0, -1)
      const known = KNOWN_KEYS.filter((key) => key.path.slice(0, -1).join('.') === parent.join('.'))
      const siblings = [...new Set([...keysOf(parent), ...known.map((key) => key.path.at(-1) ?? '')])]
      // Between two keys that are as near, such as http and tcp for "ttp", nobody can tell.
      fc.pre(!siblings.includes(wrong) && siblings.filter((key) => areOneTypoApart(wrong, key)).length === 1)
      const lines = parent.map((name, depth) => `${'  '.repeat(depth)}${name}:\n`)
      const version = path[0] === 'version' ? '' : 'version: 0.1\n'
      const text = `${version}# a comment\n${lines.join('')}${'  '.repeat(parent.length)}${wrong}: x\n`
      const problem = problemsOf(text).find((found) => found.path === [...parent, wrong].join('.'))
      assert.equal(problem?.message, 'there is no such key')
      assert.equal(problem.suggestion, path.at(-1))
      assert.equal(problem.line, text.split('\n').length - 1)
    }),
    { numRuns: 300 },
  )
})

test('a key of an entry in a list is known, and one with a letter wrong is reported', () => {
  const [problem] = problemsOf('version: 0.1\nhealth:\n  tcp:\n    - addr: a:1\n      treshold: 2\n')
  assert.deepEqual(problem, {
    path: 'health.tcp.0.treshold',
    line: 5,
    message: 'there is no such key',
    suggestion: 'threshold',
  })
})

test('all that is wrong is reported at once, in the order of the file, with what was expected', () => {
  const problems = problemsOf(`version: 0.1
http:
  addr: :5000
  debug: {addr: localhost}
  headers:
    Bad Name: [x]
    X-Text: nosniff
storage:
  delete: {enabled: "yes"}
  maintenance: {uploadpurging: {age: 10, interval: 720h}}
validation:
  manifests: {urls: {allow: ["("], deny: all}}
limits: 7
health:
  http: [{uri: "ftp://a/", statuscode: 1000}]
log:
  fields: {a: [1]}
catalog: {maxentries: 0}
`)
  assert.deepEqual(
    problems.map(({ line, path, message }) => `${line} ${path}: ${message.split(' reaches', 1).join('')}`),
    [
      '3 http.addr: ":5000" can be reached from other machines, and there are no accounts yet: whoever',
      '4 http.debug.addr: expected host:port, such as 127.0.0.1:5000, [::1]:5000 or :5000',
      '6 http.headers.Bad Name: expected the name of a header that may be set',
      '7 http.headers.X-Text: expected a list of values',
      '9 storage.delete.enabled: expected true or false',
      '10 storage.maintenance.uploadpurging.age: expected a length of time with its unit, such as 30s, 5m or 168h',
      '10 storage.maintenance.uploadpurging.interval: expected a length of time with its unit, such as 30s, 5m or 168h, of 596h at most',
      '12 validation.manifests.urls.allow.0: expected a regular expression',
      '12 validation.manifests.urls.deny: expected a list',
      '13 limits: expected a section of keys',
      '15 health.http.0.uri: expected a URL such as https://registry.example.com',
      '15 health.http.0.statuscode: expected a status code from 100 to 599',
      '17 log.fields.a: expected text, a number, true or false',
      '18 catalog.maxentries: expected a whole number of 1 or more',
    ],
  )
})

test('a variable that is wrong is named instead of a line', () => {
  const [problem] = problemsOf('version: 0.1\nhttp: {addr: "127.0.0.1:1"}\n', { REGISTRY_HTTP_ADDR: 'here' })
  assert.equal(problem?.variable, 'REGISTRY_HTTP_ADDR')
  assert.equal(problem.line, undefined)
})

test('without a file no line is named, since nobody wrote it', () => {
  assert.throws(
    () => loadConfig({ env: { REGISTRY_HTTP_TLS_CLIENTCAS_0: '/ca.pem' } }),
    (error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /\n {2}http\.tls\.certificate: it is missing; expected text\n/)
      return error.problems.every(({ line }) => line === undefined)
    },
  )
})

test('a variable that names no key is only warned of, with the nearest; those of other programs are passed over', () => {
  const { warnings } = loadText('version: 0.1', {
    REGISTRY_HTTP_ADRR: '127.0.0.1:1',
    REGISTRY_AUTH_FILE: '/run/containers/0/auth.json',
    REGISTRY_SERVICE_HOST: '10.0.0.1',
    REGISTRY_PORT_5000_TCP: 'tcp://10.0.0.1:5000',
  })
  assert.deepEqual(
    warnings.map(({ message }) => message),
    ['the environment variable REGISTRY_HTTP_ADRR names no key; did you mean REGISTRY_HTTP_ADDR?'],
  )
})

test('variables for elements of a list replace those of the file, key by key, and add to them', () => {
  const { config } = loadText(
    'version: 0.1\nhealth: {tcp: [{addr: "a:1", threshold: 7}, {addr: "b:1"}]}\nauth: {anonymous: [pull]}\n',
    {
      REGISTRY_HEALTH_TCP_0_ADDR: 'c:1',
      REGISTRY_HEALTH_TCP_3: '{addr: "e:1"}',
      REGISTRY_HEALTH_TCP_2_THRESHOLD: '9',
      REGISTRY_HEALTH_TCP_2_ADDR: 'd:1',
      REGISTRY_AUTH_ANONYMOUS_1: 'push',
    },
  )
  assert.deepEqual(
    config.health.tcp.map(({ addr, threshold }) => [addr.host, threshold]),
    [
      ['c', 7],
      ['b', 3],
      ['d', 9],
      ['e', 3],
    ],
  )
  assert.deepEqual(config.auth.anonymous, ['pull', 'push'])
})

test('a gap in the numbers of elements is a problem of the variable, and one that is wrong is named', () => {
  const [gap, wrong, ...rest] = problemsOf('version: 0.1\nhealth: {tcp: [{addr: "a:1"}]}\n', {
    REGISTRY_HEALTH_TCP_2_ADDR: 'b:1',
    REGISTRY_VALIDATION_MANIFESTS_URLS_DENY_0: '(',
  })
  assert.deepEqual(gap, {
    path: 'health.tcp.2.addr',
    variable: 'REGISTRY_HEALTH_TCP_2_ADDR',
    message: 'the next element of this list has the number 1; number them from 0 without gaps',
  })
  assert.equal(wrong?.variable, 'REGISTRY_VALIDATION_MANIFESTS_URLS_DENY_0')
  assert.equal(wrong.message, 'expected a regular expression')
  assert.deepEqual(rest, [])
})

test('a variable for a key that elements of a list do not have is warned of, with the nearest', () => {
  const { warnings } = loadText('version: 0.1', { REGISTRY_HEALTH_TCP_4_ADRR: 'a:1' })
  assert.match(warnings[0]?.message ?? '', /did you mean REGISTRY_HEALTH_TCP_4_ADDR\?/)
})

test('a header can be set by a variable of its own, whose name is written as people write it', () => {
  const { config } = loadText('version: 0.1', { 'REGISTRY_HTTP_HEADERS_Access-Control-Allow-Origin': '["*"]' })
  assert.deepEqual(config.http.headers, { 'access-control-allow-origin': ['*'] })
})

test('a scheme of authentication that is only named is refused, whatever else is set', () => {
  for (const env of [
    { REGISTRY_AUTH: 'htpasswd' },
    { REGISTRY_AUTH: 'token', REGISTRY_AUTH_ANONYMOUS: '[pull]' },
    { REGISTRY_AUTH_HTPASSWD_PATH: '/htpasswd' },
  ]) {
    assert.match(problemsOf('version: 0.1', env)[0]?.message ?? '', /there are no accounts yet/, JSON.stringify(env))
  }
  const [problem] = problemsOf('version: 0.1\nauth: htpasswd\n', { REGISTRY_AUTH_ANONYMOUS: '[pull]' })
  assert.equal(problem?.path, 'auth.htpasswd')
})

function problemsAt(addr: string, auth = '') {
  return problemsOf(`version: 0.1\nhttp: {addr: "${addr}"}\n${auth}`)
}

test('anything but loopback needs to be told what anyone may do', () => {
  for (const addr of ['127.0.0.1:5000', '127.1.2.3:5000', 'localhost:5000', '[::1]:5000']) {
    assert.deepEqual(problemsAt(addr), [], addr)
  }
  for (const addr of [':5000', '0.0.0.0:5000', '[::]:5000', '10.0.0.1:5000', 'registry:5000', '127.0.0.1.example:1']) {
    assert.equal(problemsAt(addr)[0]?.path, 'http.addr', addr)
    assert.equal(problemsAt(addr, 'auth:\n')[0]?.path, 'http.addr', addr)
    assert.notDeepEqual(problemsAt(addr, 'auth: {anonymous: }'), [], addr)
    assert.deepEqual(problemsAt(addr, 'auth: {anonymous: []}'), [], addr)
  }
  const words = problemsAt('0.0.0.0:1', 'auth: {anonymous: [all]}\nlog: {level: loud}').map(({ path }) => path)
  assert.deepEqual(words, ['auth.anonymous.0', 'log.level'])
})

test('keys of S3 that need each other are asked for', () => {
  const problems = problemsOf('version: 0.1\nstorage: {s3: {accesskey: a, chunksize: 1000}}\n')
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['storage.s3.bucket', 'storage.s3.region', 'storage.s3.chunksize'],
  )
  const [problem] = problemsOf('version: 0.1\nstorage: {s3: {bucket: b, region: r, accesskey: a}}\n')
  assert.equal(problem?.path, 'storage.s3.secretkey')
})
