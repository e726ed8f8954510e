import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { startRegistry } from '../harness.ts'
import { record } from '../registry-client.ts'
import { entrepot, temporaryFolder, writeConfig } from './command.ts'
import { DISTRIBUTION_FILES } from './distribution-files.ts'

/** What each file draws a warning for, and nothing else. */
const NOT_NEEDED: Readonly<Record<string, string[]>> = {
  'the file in the container image': ['storage.cache'],
  'the development example, without what calls for accounts or other services': ['redis', 'storage.cache'],
  'the reference of all options, without those that ask for something else': [
    'http.h2c',
    'http.secret',
    'log.hooks',
    'loglevel',
    'storage.cache',
    'storage.filesystem.maxthreads',
    'storage.tag',
  ],
  'the least that the documentation shows, with sections left empty': [],
  'a storage driver that is only named': ['auth.none'],
}

/** All that distribution's documentation lists for S3, and the values in force. */
const S3_FILE = `version: 0.1
storage:
  s3:
    accesskey: awsaccesskey
    secretkey: awssecretkey
    region: us-west-1
    regionendpoint: http://myobjects.local
    forcepathstyle: true
    accelerate: false
    bucket: bucketname
    encrypt: true
    keyid: mykeyid
    secure: true
    v4auth: true
    chunksize: 5242880
    multipartcopychunksize: 33554432
    multipartcopymaxconcurrency: 100
    multipartcopythresholdsize: 33554432
    rootdirectory: /s3/object/name/prefix
    usedualstack: false
    loglevel: debug
`

/** Each key of distribution's that changes what is protected or stored, as its documentation writes it. */
const REFUSED = `version: 0.1
storage:
  gcs: {bucket: b}
  azure: {accountname: a}
  swift: {username: u}
  oss: {bucket: b}
  inmemory:
  filesystem: {rootdirectory: /var/lib/registry}
auth:
  htpasswd: {realm: basic-realm, path: /path/to/htpasswd}
  token: {realm: token-realm, service: s, issuer: i, rootcertbundle: /root/certs/bundle}
  silly: {realm: silly-realm, service: silly-service}
  anonymous: [pull]
http:
  addr: :5000
  net: unix
  tls: {certificate: c, key: k, clientauth: verify-client-cert-if-given, letsencrypt: {cachefile: /path/to/cache-file}}
  h2c: {enabled: true}
proxy: {remoteurl: "https://registry-1.docker.io"}
notifications: {endpoints: []}
middleware:
  registry: []
  repository: []
policy: {repository: {classes: [image]}}
`

function inOrder(texts: readonly unknown[]): string[] {
  return texts.map(String).toSorted()
}

/** The key in "storage.cache is accepted, but not needed". */
function beforeComma(message: unknown): string {
  return String(message).split(' is accepted, ', 1).join('')
}

test('the files that CNCF distribution documents work as they are', { concurrency: 2 }, async (t) => {
  for (const [name, yaml] of Object.entries(DISTRIBUTION_FILES)) {
    void t.test(name, async (t) => {
      const file = await writeConfig(await temporaryFolder(t), yaml)
      // Of distribution's files the open ones let anybody in; here that has to be said.
      const env = { REGISTRY_AUTH_ANONYMOUS: '[pull, push]' }
      const { code, stdout, stderr } = await entrepot(['config', 'check', '--json', file], { env })
      assert.equal(code, 0, stderr)
      const { warnings } = record(JSON.parse(stdout))
      assert.ok(Array.isArray(warnings))
      assert.deepEqual(
        inOrder(warnings.map((warning: unknown) => record(warning)['message']).map(beforeComma)),
        NOT_NEEDED[name],
      )
    })
  }

  void t.test('what they say is what is in force', async (t) => {
    const yaml = DISTRIBUTION_FILES['the reference of all options, without those that ask for something else'] ?? ''
    const { stdout } = await entrepot(['config', 'print', '--json', await writeConfig(await temporaryFolder(t), yaml)])
    const { log, http, health, storage, validation, catalog } = record(JSON.parse(stdout))
    assert.deepEqual(log, {
      level: 'debug',
      formatter: 'text',
      fields: { service: 'registry', environment: 'staging' },
      accesslog: { disabled: true },
    })
    assert.deepEqual(http, {
      addr: 'localhost:5000',
      net: 'tcp',
      host: 'https://myregistryaddress.org:5000',
      prefix: '/my/nested/registry/',
      relativeurls: false,
      headers: { 'X-Content-Type-Options': ['nosniff'] },
      sendfile: true,
      draintimeout: '1m',
      tls: {
        certificate: '/path/to/x509/public',
        key: '/path/to/x509/private',
        clientcas: ['/path/to/ca.pem', '/path/to/another/ca.pem'],
        clientauth: 'require-and-verify-client-cert',
        minimumtls: 'tls1.2',
        ciphersuites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384'],
      },
      http2: { disabled: false },
      debug: { addr: 'localhost:5001', prometheus: { enabled: true, path: '/metrics' } },
    })
    assert.deepEqual(storage, {
      filesystem: { rootdirectory: '/var/lib/registry' },
      delete: { enabled: false },
      redirect: { disable: false },
      verification: { reads: 'first', age: '168h' },
      maintenance: {
        uploadpurging: { enabled: true, age: '168h', interval: '24h', dryrun: false },
        garbagecollection: { enabled: true, age: '24h', interval: '1h', rate: 500 },
        trash: { age: '24h' },
        untagged: { enabled: false, age: '168h', dryrun: false },
        reserve: 33_554_432,
        readonly: { enabled: false },
      },
    })
    assert.deepEqual(record(health)['tcp'], [
      { addr: 'redis-server.domain.com:6379', interval: '10s', timeout: '3s', threshold: 3 },
    ])
    assert.deepEqual(record(record(validation)['manifests'])['indexes'], {
      platforms: 'list',
      platformlist: [{ architecture: 'amd64', os: 'linux' }],
    })
    assert.deepEqual(catalog, { maxentries: 1000 })
  })

  void t.test('the file in the container image serves, its folder and address given by variables', async (t) => {
    const yaml = DISTRIBUTION_FILES['the file in the container image'] ?? ''
    const file = await writeConfig(await temporaryFolder(t), yaml)
    const registry = await startRegistry(t, {
      env: { REGISTRY_LOG_FIELDS_ENVIRONMENT: 'test' },
      configFile: file,
    })
    const answer = await fetch(`${registry.url}/v2/`)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    assert.match(registry.output(), /WARN.*storage\.cache is accepted, but not needed/)
    assert.match(registry.output(), /"service":"registry".*"environment":"test"/)
    assert.equal(await registry.stop(), 0)
  })
})

test("distribution's keys for S3 are in force, and what is not needed of them is warned of", async (t) => {
  const file = await writeConfig(await temporaryFolder(t), S3_FILE)
  const { stdout } = await entrepot(['config', 'print', '--json', file])
  assert.deepEqual(record(record(JSON.parse(stdout))['storage'])['s3'], {
    bucket: 'bucketname',
    region: 'us-west-1',
    regionendpoint: 'http://myobjects.local',
    forcepathstyle: true,
    accesskey: 'awsaccesskey',
    secretkey: 'awssecretkey',
    encrypt: true,
    keyid: 'mykeyid',
    secure: true,
    skipverify: false,
    chunksize: 5_242_880,
    rootdirectory: '/s3/object/name/prefix',
    usedualstack: false,
    accelerate: false,
  })
  const check = await entrepot(['config', 'check', '--json', file])
  const { warnings } = record(JSON.parse(check.stdout))
  assert.ok(Array.isArray(warnings))
  assert.deepEqual(
    inOrder(warnings.map((warning: unknown) => beforeComma(record(warning)['message']))),
    ['loglevel', 'multipartcopychunksize', 'multipartcopymaxconcurrency', 'multipartcopythresholdsize', 'v4auth'].map(
      (key) => `storage.s3.${key}`,
    ),
  )
})

test('what would change who is let in, or where data goes, is refused, all at once', async (t) => {
  const file = await writeConfig(await temporaryFolder(t), REFUSED)
  const { code, stdout } = await entrepot(['config', 'check', '--json', file])
  assert.equal(code, 1)
  const { problems } = record(JSON.parse(stdout))
  assert.ok(Array.isArray(problems))
  const found = problems.map((problem: unknown) => record(problem))
  const lines = REFUSED.split('\n')
  for (const { path, line, message } of found) {
    assert.match(String(message), /^is not supported in this version; /, String(path))
    const key = String(path).split('.').at(-1) ?? ''
    assert.ok(lines[Number(line) - 1]?.includes(`${key}:`), `${String(path)} is not on line ${String(line)}`)
  }
  const expected = ['storage.gcs', 'storage.azure', 'storage.swift', 'storage.oss', 'storage.inmemory']
  expected.push('auth.htpasswd', 'auth.token', 'auth.silly', 'http.tls.letsencrypt', 'http.h2c', 'http.net')
  expected.push('http.tls.clientauth', 'proxy', 'notifications', 'policy')
  expected.push('middleware.registry', 'middleware.repository')
  assert.deepEqual(inOrder(found.map(({ path }) => path)), inOrder(expected))
  const serving = await entrepot(['serve', file], { cwd: join(file, '..') })
  assert.equal(serving.code, 1)
  assert.equal(serving.stdout, '')
})
