import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { uniqueName } from '../content.ts'
import { freePort, startRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { createCertificate } from './certificates.ts'
import { type CommandOptions, entrepot, temporaryFolder, writeConfig } from './command.ts'

/** A place of its own for each start: a folder, the data folder in it, and an address. */
async function place(t: TestContext) {
  const folder = await temporaryFolder(t)
  return { folder, data: join(folder, 'data'), address: `127.0.0.1:${await freePort()}` }
}

/** A configuration that would start; `http` holds further lines of that section. */
function valid({ data, address }: { data: string; address: string }, http = ''): string {
  return `version: 0.1\nstorage:\n  filesystem: {rootdirectory: ${data}}\nhttp:\n  addr: ${address}\n${http}`
}

async function assertRefuses(file: string, message: RegExp, options: CommandOptions = {}): Promise<void> {
  const { code, stdout, stderr } = await entrepot(['serve', file], options)
  assert.equal(code, 1, `${stdout}${stderr}`)
  assert.match(stderr, /^entrepot: /)
  assert.match(stderr, message)
  assert.doesNotMatch(stderr, /^ +at |node:internal/m, 'a stack trace')
  assert.doesNotMatch(stdout, /answers on/, 'it must not answer first')
}

/** Root may write everywhere, unless it gives that power up. */
function withoutOverride(): CommandOptions {
  return process.getuid?.() === 0 ? { through: ['setpriv', '--bounding-set', '-dac_override'] } : {}
}

test('a start that fails says why and what to do', { concurrency: 2 }, async (t) => {
  void t.test('a configuration file that is not there', async (t) => {
    const { folder } = await place(t)
    await assertRefuses(join(folder, 'absent.yml'), /absent\.yml: there is no such file; name a config\.yml/)
    await assertRefuses(folder, /it is a folder; name a config\.yml/)
  })

  void t.test('a configuration file that this user may not read', async (t) => {
    const at = await place(t)
    const file = await writeConfig(at.folder, valid(at))
    await chmod(file, 0)
    const noReading =
      process.getuid?.() === 0
        ? { through: ['setpriv', '--bounding-set', '-dac_override,-dac_read_search'] }
        : withoutOverride()
    await assertRefuses(file, /this user may not read it; name a config\.yml/, noReading)
  })

  void t.test('a configuration file that is no YAML, with the line', async (t) => {
    const { folder } = await place(t)
    const broken = await writeConfig(folder, 'version: 0.1\nhttp:\n  addr: "127.0.0.1:5000\n')
    await assertRefuses(broken, /config\.yml:\d: it is not valid YAML/)
    const twice = await writeConfig(folder, 'version: 0.1\nlog: {}\nlog: {}\n')
    await assertRefuses(twice, /config\.yml:3: it is not valid YAML: .*unique/)
    for (const text of ['', '# nothing\n', '- one\n', 'version\n']) {
      await assertRefuses(await writeConfig(folder, text), /it must be a map of keys, beginning with "version: 0\.1"/)
    }
  })

  void t.test('a key that is unknown, with the nearest one', async (t) => {
    const at = await place(t)
    await assertRefuses(
      await writeConfig(at.folder, valid(at, '  prefx: /a/\n')),
      /config\.yml:6: http\.prefx: .*did you mean "prefix"\?/,
    )
  })

  void t.test('a health check whose URL has credentials, which are not printed', async (t) => {
    const at = await place(t)
    const uris = ['user:s3cret', 's3cret', ':s3cret'].map((credentials) => `http://${credentials}@127.0.0.1:1/`)
    const file = await writeConfig(
      at.folder,
      valid(at, `health: {http: ${JSON.stringify(uris.map((uri) => ({ uri })))}}\n`),
    )
    const { code, stderr } = await entrepot(['serve', file])
    assert.equal(code, 1)
    for (const index of uris.keys()) {
      const advice = 'expected a URL without a user or a password, which "headers" can carry as Authorization'
      assert.ok(stderr.includes(`config.yml:6: health.http.${index}.uri: ${advice}\n`), stderr)
    }
    assert.doesNotMatch(stderr, /s3cret/)
  })

  void t.test('an address that another program has', async (t) => {
    const at = await place(t)
    const other = createServer()
    other.listen(Number(at.address.split(':')[1]), '127.0.0.1')
    await once(other, 'listening')
    t.after(() => other.close())
    await assertRefuses(
      await writeConfig(at.folder, valid(at)),
      new RegExp(`${at.address} is taken by another program; end that, or set "http\\.addr" \\(REGISTRY_HTTP_ADDR\\)`),
    )
    const debug = valid({ ...at, address: `127.0.0.1:${await freePort()}` }, `  debug: {addr: ${at.address}}\n`)
    await assertRefuses(await writeConfig(at.folder, debug), /is taken .* "http\.debug\.addr"/)
  })

  void t.test('a data folder that another Entrepot works in, until that ends, however it ends', async (t) => {
    const first = await startRegistry(t)
    const at = { ...(await place(t)), data: first.dataDirectory }
    const file = await writeConfig(at.folder, valid(at))
    await assertRefuses(file, /another Entrepot works in the data folder \S+: end it, or set/)
    await first.kill()
    await first.start()
  })

  void t.test('an address that this machine does not have', async (t) => {
    const at = await place(t)
    const options = { env: { REGISTRY_AUTH_ANONYMOUS: '[pull]' } }
    const [foreign, unknown] = await Promise.all([
      writeConfig(at.folder, valid({ ...at, address: '192.0.2.1:5000' }), 'foreign.yml'),
      writeConfig(at.folder, valid({ ...at, address: 'nowhere.invalid:5000' }), 'unknown.yml'),
    ])
    await assertRefuses(foreign, /does not have the address 192\.0\.2\.1:5000; set "http\.addr"/, options)
    await assertRefuses(unknown, /nowhere\.invalid:5000 cannot be listened on .*; set "http\.addr"/, options)
  })

  void t.test('a data folder that cannot be written', async (t) => {
    const at = await place(t)
    const file = await writeConfig(at.folder, valid(at))
    const advice =
      /the data folder \S+ cannot be used \(.+\): let this user write there, or set "storage\.filesystem\.rootdirectory"/
    await mkdir(at.data, { mode: 0o500 })
    await assertRefuses(file, advice, withoutOverride())
    await assertRefuses(await writeConfig(at.folder, valid({ ...at, data: join(file, 'data') })), advice)
    await assertRefuses(await writeConfig(at.folder, valid({ ...at, data: file })), advice)
  })

  void t.test('a database that is none', async (t) => {
    const at = await place(t)
    await mkdir(at.data)
    await writeFile(join(at.data, 'entrepot.db'), 'not a database, but something of the same name'.repeat(30))
    await assertRefuses(await writeConfig(at.folder, valid(at)), /entrepot\.db is damaged, .*put a backup/)
  })

  void t.test('blobs without their database, which both stay as they are until the database is back', async (t) => {
    const registry = await startRegistry(t)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    const { descriptor } = await client.pushImage(name)
    await registry.kill()
    const at = { ...(await place(t)), data: registry.dataDirectory }
    const file = await writeConfig(at.folder, valid(at))
    const database = join(at.data, 'entrepot.db')
    const advice = /has blobs, but their database \S+entrepot\.db is missing .*put the backup .* or move the blobs away/
    await rename(database, join(at.folder, 'backup'))
    const before = await readdir(at.data, { recursive: true })
    assert.ok(before.includes('entrepot.db-wal'), 'what was committed last is in the log beside the database')
    await assertRefuses(file, advice)
    assert.deepEqual(await readdir(at.data, { recursive: true }), before)
    await writeFile(database, '')
    await assertRefuses(file, advice)
    await rename(join(at.folder, 'backup'), database)
    await registry.start()
    assert.equal((await client.get(`/v2/${name}/manifests/${descriptor.digest}`)).status, 200)
  })

  void t.test('a database that a newer version has upgraded, which stays as it was', async (t) => {
    const registry = await startRegistry(t)
    await registry.stop()
    const file = join(registry.dataDirectory, 'entrepot.db')
    const database = new DatabaseSync(file)
    database.exec("insert into schema_migrations values ('of-tomorrow', 999, 0)")
    const before = database.prepare('select * from schema_migrations').all()
    const at = { ...(await place(t)), data: registry.dataDirectory }
    await assertRefuses(
      await writeConfig(at.folder, valid(at)),
      /upgraded by a newer version .*"of-tomorrow".*; start that version or a newer one/,
    )
    assert.deepEqual(database.prepare('select * from schema_migrations').all(), before)
    database.close()
  })

  void t.test('files of TLS that are missing, damaged, or do not belong together', async (t) => {
    const at = await place(t)
    const [one, other] = await Promise.all(['one', 'other'].map(async (name) => createCertificate(at.folder, name)))
    assert.ok(one !== undefined && other !== undefined)
    const tls = async (certificate: string, key: string, more = '') =>
      writeConfig(at.folder, valid(at, `  tls: {certificate: ${certificate}, key: ${key}${more}}\n`))
    const absent = join(at.folder, 'absent.pem')
    await assertRefuses(
      await tls(absent, one.key),
      /"http\.tls\.certificate" names \S+absent\.pem: there is no such file/,
    )
    await assertRefuses(
      await tls(one.certificate, absent),
      /"http\.tls\.key" names \S+absent\.pem: there is no such file/,
    )
    const authority = `, clientcas: [${absent}]`
    await assertRefuses(await tls(one.certificate, one.key, authority), /"http\.tls\.clientcas" names/)
    await assertRefuses(await tls(one.certificate, other.key), /"http\.tls" cannot be used: .*; check \S+one\.pem and/)
    await writeFile(absent, 'no certificate')
    await assertRefuses(await tls(absent, one.key), /"http\.tls" cannot be used/)
    const ciphers = ', ciphersuites: [TLS_NOT_INVENTED]'
    await assertRefuses(await tls(one.certificate, one.key, ciphers), /ciphers of "http\.tls" cannot be used/)
  })

  void t.test('a variable that is wrong is named, whatever the file says', async (t) => {
    const at = await place(t)
    await assertRefuses(
      await writeConfig(at.folder, valid(at)),
      /^entrepot: REGISTRY_LOG_LEVEL \(log\.level\): expected one of error, warn, info, debug\n$/,
      { env: { REGISTRY_LOG_LEVEL: 'loud' } },
    )
  })
})
