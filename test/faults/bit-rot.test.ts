import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { digestOf, uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { createCertificate } from '../operations/certificates.ts'
import { temporaryFolder } from '../operations/command.ts'
import { Http2Client } from '../operations/http2-client.ts'
import { Random } from '../random.ts'
import { DECAYS, fileOf, seededBytes } from './bit-rot.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound, runFsck } from './fsck.ts'
import { canInject, inject } from './injection.ts'
import { byTier } from './tier.ts'

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE
const BLOBS = byTier({ quick: 25, ci: 60, release: 1_000 })
/** Larger ones are not kept in memory. */
const SMALL_BYTES = 256 * KIBIBYTE
const WAYS = ['at once', 'in chunks', 'as one stream', 'by a mount that falls back'] as const

/** An answer; without a body when it was cut off. */
interface Answer {
  readonly status: number
  readonly body: Buffer | undefined
}

type Send = (method: string, path: string, body?: Buffer) => Promise<Answer & { readonly location: string }>

/** What was cut off before anything came. */
const CUT_OFF = { status: 0, body: undefined, location: '' }

/** Requests on connections of their own; an answer that is cut off is one, too. */
function plain(url: string): Send {
  return async (method, path, body) => {
    const headers = { connection: 'close' }
    const answer = await fetch(new URL(path, url), { method, ...(body && { body }), headers }).catch(() => undefined)
    if (answer === undefined) return CUT_OFF
    const whole = await answer.arrayBuffer().catch(() => undefined)
    const location = answer.headers.get('location') ?? ''
    return { status: answer.status, body: whole && Buffer.from(whole), location }
  }
}

function overHttp2(client: Http2Client): Send {
  return async (method, path, body) => {
    const { pathname, search } = new URL(path, 'https://any')
    const answer = await client.request(method, pathname + search, { ...(body && { body }) }).catch(() => undefined)
    if (answer === undefined) return CUT_OFF
    const isWhole = answer.resetCode === 0
    const location = String(answer.headers['location'])
    return { status: answer.status, body: isWhole ? answer.body : undefined, location }
  }
}

function overTls(url: string, ca: Buffer): Send {
  return async (method, path, body) => {
    const outgoing = request(new URL(path, url), { method, ca, agent: false })
    outgoing.end(body)
    const [incoming] = await once(outgoing, 'response')
    const whole = await buffer(incoming).catch(() => undefined)
    return { status: incoming.statusCode, body: whole, location: String(incoming.headers.location) }
  }
}

/** Pushes a blob in one of the ways that there are. */
async function push(send: Send, name: string, bytes: Buffer, way: (typeof WAYS)[number]): Promise<void> {
  const [digest, uploads] = [digestOf(bytes), `/v2/${name}/blobs/uploads/`]
  const closing = (location: string) => `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
  let answer
  if (way === 'at once') answer = await send('POST', `${uploads}?digest=${digest}`, bytes)
  else {
    const query = way === 'by a mount that falls back' ? `?mount=${digest}&from=${name}` : ''
    let { status, location } = await send('POST', uploads + query)
    assert.equal(status, 202, 'what is damaged cannot be mounted')
    const half = way === 'in chunks' ? Math.ceil(bytes.length / 2) : 0
    if (half > 0) ({ location } = await send('PATCH', location, bytes.subarray(0, half)))
    answer = await send('PUT', closing(location), bytes.subarray(half))
  }
  assert.equal(answer.status, 201, way)
}

/** One blob on its way from push to decay and back. */
interface Victim {
  readonly bytes: Buffer
  readonly digest: string
  readonly decay: string
  readonly way: (typeof WAYS)[number]
  readonly path: string
  readonly mountedPath: string
}

/**
 * Pushes blobs, each into two repositories, lets them decay, and asks for them: none may come as a success with other
 * bytes. What was read before, and is small, is still in memory, and may come right.
 */
class Rot {
  readonly victims: Victim[]
  readonly #random: Random
  readonly #registry: TestRegistry
  #send: Send
  readonly #name = uniqueName('rot')

  constructor(registry: TestRegistry, send: Send, { seed, count }: { seed: string; count: number }) {
    this.#random = new Random(seed)
    this.#registry = registry
    this.#send = send
    const decays = Object.keys(DECAYS)
    this.victims = Array.from({ length: count }, (_, number) => {
      const bytes = seededBytes(`${seed} ${number}`, this.#random.size(KIBIBYTE, 20 * MEBIBYTE))
      const digest = digestOf(bytes)
      const at = (name: string) => `/v2/${name}/blobs/${digest}`
      const [decay = '', way = 'at once'] = [decays[number % decays.length], WAYS[number % WAYS.length]]
      return { bytes, digest, decay, way, path: at(this.#name), mountedPath: at(`${this.#name}/mounted`) }
    })
  }

  /** Goes on with another connection. */
  sendBy(send: Send): void {
    this.#send = send
  }

  async pushAll(): Promise<void> {
    for (const { bytes, digest } of this.victims) {
      await push(this.#send, this.#name, bytes, 'at once')
      const mounted = await this.#send(
        'POST',
        `/v2/${this.#name}/mounted/blobs/uploads/?mount=${digest}&from=${this.#name}`,
      )
      assert.equal(mounted.status, 201)
    }
  }

  async readAll(): Promise<void> {
    for (const { path, bytes } of this.victims) {
      const { status, body } = await this.#send('GET', path)
      assert.ok(status === 200 && body?.equals(bytes), path)
    }
  }

  async decayAll(): Promise<void> {
    for (const { digest, decay } of this.victims) {
      await DECAYS[decay]?.(fileOf(this.#registry.dataDirectory, digest), this.#random)
    }
  }

  /** @param isRemembered whether small blobs were read by this process before they decayed. */
  async expectNoWrongBytes(isRemembered: boolean): Promise<void> {
    for (const { path, bytes, decay, mountedPath } of this.victims) {
      const what = `${decay}, ${bytes.length} bytes, ${path}`
      const mayBeRight = isRemembered && bytes.length <= SMALL_BYTES
      const first = await this.#send('GET', path)
      if (first.status === 200 && first.body !== undefined) assert.ok(mayBeRight && first.body.equals(bytes), what)
      if (mayBeRight) continue
      for (const method of ['GET', 'HEAD', 'GET']) {
        for (const url of [path, mountedPath]) assert.equal((await this.#send(method, url)).status, 404, what)
      }
    }
  }

  async healAll(isRemembered: boolean): Promise<void> {
    for (const { bytes, path, mountedPath, way } of this.victims) {
      // What is right in memory, and is not known to be wrong on the disk, is mounted.
      const isMounted = isRemembered && bytes.length <= SMALL_BYTES && way === 'by a mount that falls back'
      await push(this.#send, this.#name, bytes, isMounted ? 'at once' : way)
      for (const url of [path, mountedPath]) {
        const { status, body } = await this.#send('GET', url)
        assert.ok(status === 200 && body?.equals(bytes), `${url} is not whole after a push ${way}`)
      }
    }
  }
}

/** Blobs that decay unread, then those that were read, then while no server runs; each time all are healed by a push. */
async function carryOut(t: TestContext, registry: TestRegistry, sender: () => Promise<Send>, count: number) {
  const seed = String(faultSeed(t))
  const [unread, read, stopped] = ['unread', 'read', 'stopped'].map((phase, number) => ({
    seed: `${seed} ${phase}`,
    count: Math.ceil((count - number) / 3),
  }))
  assert.ok(unread && read && stopped)
  const send = await sender()
  for (const [plan, isRead] of [[unread, false] as const, [read, true] as const]) {
    const rot = new Rot(registry, send, plan)
    await rot.pushAll()
    if (isRead) await rot.readAll()
    await rot.decayAll()
    await rot.expectNoWrongBytes(isRead)
    await rot.healAll(isRead)
  }
  const rot = new Rot(registry, send, stopped)
  await rot.pushAll()
  assert.equal(await registry.stop(), 0, registry.output())
  await rot.decayAll()
  const { findings } = await runFsck(t, registry.dataDirectory)
  const errors = findings.filter(({ severity }) => severity === 'error')
  assert.deepEqual(new Set(errors.map(({ digest }) => digest)), new Set(rot.victims.map(({ digest }) => digest)))
  await registry.start()
  rot.sendBy(await sender())
  await rot.expectNoWrongBytes(false)
  await rot.healAll(false)
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
}

test('bytes that decay on the disk are never sent as a success, and a push makes them whole', async (t) => {
  await t.test('sent by the kernel', async (t) => {
    const registry = await startRegistry(t)
    await carryOut(t, registry, async () => plain(registry.url), BLOBS)
  })

  await t.test('sent through buffers', async (t) => {
    const registry = await startRegistry(t, { config: { http: { sendfile: false } } })
    await carryOut(t, registry, async () => plain(registry.url), Math.ceil(BLOBS / 2))
  })

  for (const protocol of ['HTTP/1.1', 'HTTP/2']) {
    await t.test(`sent over TLS and ${protocol}`, async (t) => {
      const certificate = await createCertificate(await temporaryFolder(t), 'server')
      const registry = await startRegistry(t, { scheme: 'https', config: { http: { tls: certificate } } })
      const sender = async () =>
        protocol === 'HTTP/2'
          ? overHttp2(await Http2Client.connect(t, registry.url, certificate.certificate))
          : overTls(registry.url, await readFile(certificate.certificate))
      await carryOut(t, registry, sender, Math.ceil(BLOBS / 5))
    })
  }
})

test('damaged content is moved to quarantine, counted, and named in the log with what to do', async (t) => {
  const registry = await startRegistry(t)
  const send = plain(registry.url)
  const bytes = seededBytes('quarantine', 3 * MEBIBYTE)
  const digest = digestOf(bytes)
  await push(send, 'rot/kept', bytes, 'at once')
  await DECAYS['flipped']?.(fileOf(registry.dataDirectory, digest), new Random('quarantine'))
  const damaged = await readFile(fileOf(registry.dataDirectory, digest))
  assert.equal((await send('GET', `/v2/rot/kept/blobs/${digest}`)).body, undefined)
  const kept = join(registry.dataDirectory, 'quarantine', 'sha256', digest.slice('sha256:'.length))
  const isKept = async () => (await readFile(kept).catch(() => undefined))?.equals(damaged) === true
  await until(isKept, 10_000, () => registry.output())
  assert.match(registry.output(), new RegExp(`ERROR.*content is damaged.*push.*${digest}`))
  assert.match((await send('GET', '/metrics')).body?.toString() ?? '', /^entrepot_content_damaged_total 1$/m)
})

test('read-only mode moves nothing to quarantine, and still sends no damaged content to its end', async (t) => {
  const writable = await startRegistry(t)
  const bytes = seededBytes('read-only', 3 * MEBIBYTE)
  const digest = digestOf(bytes)
  await push(plain(writable.url), 'rot/frozen', bytes, 'at once')
  await writable.stop()
  const file = fileOf(writable.dataDirectory, digest)
  await DECAYS['flipped']?.(file, new Random('read-only'))
  const damaged = await readFile(file)
  const filesystem = { rootdirectory: writable.dataDirectory }
  const storage = { filesystem, maintenance: { readonly: { enabled: true } } }
  const send = plain((await startRegistry(t, { config: { storage } })).url)
  const path = `/v2/rot/frozen/blobs/${digest}`
  assert.equal((await send('GET', path)).body, undefined)
  assert.equal((await send('GET', path)).status, 404)
  assert.equal((await send('HEAD', path)).status, 404)
  assert.ok((await readFile(file)).equals(damaged))
})

test('a part of a blob that nobody has read is sent at once, and the whole is then verified', async (t) => {
  const registry = await startRegistry(t)
  const send = plain(registry.url)
  const bytes = seededBytes('parts', 8 * MEBIBYTE)
  const path = `/v2/rot/parts/blobs/${digestOf(bytes)}`
  await push(send, 'rot/parts', bytes, 'at once')
  await DECAYS['flipped']?.(fileOf(registry.dataDirectory, digestOf(bytes)), new Random('parts'))
  const part = await fetch(registry.url + path, { headers: { range: 'bytes=0-9' } })
  assert.equal(part.status, 206)
  assert.equal((await part.arrayBuffer()).byteLength, 10)
  const isGone = async () => (await send('HEAD', path)).status === 404
  await until(isGone, 10_000, () => registry.output())
})

test('with storage.verification.reads "size" large blobs are sent as they are, small ones only when right', async (t) => {
  const registry = await startRegistry(t, { config: { storage: { verification: { reads: 'size' } } } })
  const send = plain(registry.url)
  const answers = []
  for (const sizeBytes of [KIBIBYTE, MEBIBYTE]) {
    const bytes = seededBytes('size', sizeBytes)
    await push(send, 'rot/size', bytes, 'at once')
    await DECAYS['flipped']?.(fileOf(registry.dataDirectory, digestOf(bytes)), new Random('size'))
    answers.push((await send('GET', `/v2/rot/size/blobs/${digestOf(bytes)}`)).status)
  }
  assert.deepEqual(answers, [404, 200])
})

test('a disk that fails to read cuts the answer off, is answered with 503, and harms nothing once it works', async (t) => {
  if (!canInject(t)) return
  const registry = await startRegistry(t)
  const send = plain(registry.url)
  for (const [name, sizeBytes] of [['unread', 2 * MEBIBYTE] as const, ['read', 3 * MEBIBYTE] as const]) {
    const bytes = seededBytes(name, sizeBytes)
    const path = `/v2/rot/${name}/blobs/${digestOf(bytes)}`
    await push(send, `rot/${name}`, bytes, 'at once')
    if (name === 'read') assert.ok((await send('GET', path)).body?.equals(bytes))
    const files = [fileOf(registry.dataDirectory, digestOf(bytes))]
    const calls = 'pread64,preadv2'
    const failing = await inject(t, registry.pid(), { calls, files, effect: 'error=EIO', when: '1+' })
    assert.equal((await send('GET', path)).body?.byteLength, undefined, name)
    assert.equal((await send('GET', path)).status, 503, name)
    assert.ok(failing.hits() > 1)
    await failing.end()
    assert.ok((await send('GET', path)).body?.equals(bytes), name)
  }
  assert.match((await send('GET', '/metrics')).body?.toString() ?? '', /^entrepot_content_damaged_total 0$/m)
})
