import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  type Descriptor,
  digestOf,
  imageDocument,
  mediaTypes,
  randomBlob,
  typed,
  uniqueName,
  unknownDigest,
} from '../content.ts'
import {
  type Answer,
  RegistryClient,
  assertContentHeaders,
  assertRefused,
  describe,
  record,
  startClient,
  strings,
} from '../registry-client.ts'
import { GoClient, uploadTarget, withQuery } from './go-client.ts'

const RELEASES = [
  { version: '1.6.20', codings: [], pushNamespaces: [undefined] },
  {
    version: '2.4.2',
    // The registry must not apply them: the digest is that of the bare bytes.
    codings: ['Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5'],
    pushNamespaces: [undefined, 'docker.io'],
  },
] as const

type Release = (typeof RELEASES)[number]

const RESOLVED =
  'Accept: application/vnd.docker.distribution.manifest.v2+json, ' +
  'application/vnd.docker.distribution.manifest.list.v2+json, ' +
  'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*'

/** Nothing, and what is added to each request where the registry stands in for another (`hosts.toml`). */
const NAMESPACES = [undefined, 'docker.io'] as const

test('containerd', { concurrency: 4 }, async (t) => {
  const registry = await startClient(t)

  for (const release of RELEASES) {
    for (const namespace of release.pushNamespaces) {
      const title = titleOf(release, namespace)

      void t.test(`push ${title}: each blob in one PUT, then the manifest under its tag`, async (t) => {
        const ctr = new Containerd(t, registry, { release, namespace })
        const [name, config, layer] = [uniqueName('containerd'), randomBlob(900), randomBlob(150_000)]
        const pushed = imageDocument(await ctr.push(name, config, mediaTypes.config), [
          await ctr.push(name, layer, mediaTypes.layer),
        ])
        await ctr.pushManifest(name, '1', pushed)
        await ctr.assertPushed(name, '1', pushed)
      })

      void t.test(`push ${title}: a blob is mounted by digest and repository as they are, not encoded`, async (t) => {
        const ctr = new Containerd(t, registry, { release, namespace })
        const [name, source] = [uniqueName('containerd'), uniqueName('containerd')]
        const { digest } = await registry.pushBlob(source)
        const mounted = await ctr.mount(name, source, digest)
        assert.equal(mounted.status, 201, describe(mounted))
        assert.equal((await ctr.head(`${name}/blobs/${digest}`, [`Accept: ${mediaTypes.layer}, */*`])).status, 200)
      })
    }

    for (const namespace of NAMESPACES) {
      const title = titleOf(release, namespace)

      void t.test(`pull ${title}: the tag becomes a descriptor, and all that it leads to is fetched`, async (t) => {
        const ctr = new Containerd(t, registry, { release, namespace })
        const [name, config, layer] = [uniqueName('containerd'), randomBlob(900), randomBlob(150_000)]
        const manifest = imageDocument(await registry.pushBlob(name, config), [await registry.pushBlob(name, layer)])
        await registry.pushManifest(name, manifest, mediaTypes.image, { reference: '1' })
        const resolved = await ctr.head(`${name}/manifests/1`, [RESOLVED])
        // With less than these three it would get the manifest once more, to find out by itself.
        const expected = { digest: digestOf(manifest), size: manifest.length, mediaType: mediaTypes.image }
        assertContentHeaders(resolved, expected)
        await ctr.fetch(`${name}/manifests/${digestOf(manifest)}`, mediaTypes.image, manifest)
        await ctr.fetch(`${name}/blobs/${digestOf(config)}`, mediaTypes.config, config)
        await ctr.fetch(`${name}/blobs/${digestOf(layer)}`, mediaTypes.layer, layer)
      })
    }

    void t.test(`push ${release.version}: a mount that fails is an upload that goes on`, async (t) => {
      const ctr = new Containerd(t, registry, { release })
      const [name, source, layer] = [uniqueName('containerd'), uniqueName('containerd'), randomBlob()]
      await registry.pushBlob(source)
      await ctr.finish(uploadTarget(await ctr.mount(name, source, digestOf(layer))), layer)
    })

    void t.test(
      `pull ${release.version}: a blob named by its digest is looked for among manifests first`,
      async (t) => {
        const ctr = new Containerd(t, registry, { release })
        const name = uniqueName('containerd')
        const blob = await registry.pushBlob(name)
        // Only 404 sends it on to the blobs.
        assert.equal((await ctr.head(`${name}/manifests/${blob.digest}`, [RESOLVED])).status, 404)
        assertContentHeaders(await ctr.head(`${name}/blobs/${blob.digest}`, [RESOLVED]), blob)
      },
    )

    void t.test(`pull ${release.version}: a layer whose download broke goes on where it was`, async (t) => {
      const ctr = new Containerd(t, registry, { release })
      const [name, layer] = [uniqueName('containerd'), randomBlob(2_000_000)]
      await registry.pushBlob(name, layer)
      const part = await ctr.cutOff(`${name}/blobs/${digestOf(layer)}`, 777_777)
      const rest = await ctr.fetchFrom(`${name}/blobs/${digestOf(layer)}`, part.length, layer.length)
      assert.ok(Buffer.concat([part, rest]).equals(layer))
    })

    void t.test(`pull ${release.version}: what is not there is 404, with a reason in the body of a GET`, async (t) => {
      const ctr = new Containerd(t, registry, { release })
      const name = uniqueName('containerd')
      assert.equal((await ctr.head(`${name}/manifests/1`, [RESOLVED])).status, 404)
      await registry.pushBlob(name)
      assert.equal((await ctr.head(`${name}/manifests/1`, [RESOLVED])).status, 404)
      const [digest, headers] = [unknownDigest(), [`Accept: ${mediaTypes.image}, */*`, ...release.codings]]
      assertRefused(await ctr.send('GET', `${name}/blobs/${digest}`, { headers }), 404, 'BLOB_UNKNOWN')
      assert.equal((await ctr.send('GET', `${name}/manifests/${digest}`, { headers })).status, 404)
    })
  }

  const [, release] = RELEASES

  void t.test('push: a blob whose PUT broke is not there, and is pushed anew from the start', async (t) => {
    const ctr = new Containerd(t, registry, { release })
    const [name, layer] = [uniqueName('containerd'), randomBlob(300_000)]
    await ctr.cutOffPush(name, layer, 200_000)
    await ctr.push(name, layer, mediaTypes.layer)
  })

  void t.test('push: another manifest under the tag is overwritten, because HEAD names its digest', async (t) => {
    const ctr = new Containerd(t, registry, { release })
    const name = uniqueName('containerd')
    const { descriptor } = await registry.pushImage(name, { reference: '1' })
    const head = await ctr.head(`${name}/manifests/1`, [`Accept: ${mediaTypes.image}, */*`])
    assert.equal(head.header('docker-content-digest'), descriptor.digest)
    const next = imageDocument(await registry.pushBlob(name), [])
    await ctr.putManifest(name, '1', next)
    await ctr.assertPushed(name, '1', next)
  })

  void t.test(
    'pull 2.x in parallel: parts begin anywhere, the first at byte 0, and are left where the next begins',
    async (t) => {
      const ctr = new Containerd(t, registry, { release })
      const [name, layer, partBytes] = [uniqueName('containerd'), randomBlob(1_500_000), 500_000]
      await registry.pushBlob(name, layer)
      const target = `${name}/blobs/${digestOf(layer)}`
      // Without 206 or a Content-Range it would fetch one after the other.
      assert.ok((await ctr.fetchFrom(target, 0, layer.length)).equals(layer))
      const parts = await Promise.all([0, 1, 2].map((part) => ctr.cutOff(target, partBytes, part * partBytes)))
      assert.ok(Buffer.concat(parts).equals(layer))
    },
  )

  void t.test('pull 2.x by digest alone: HEAD and GET with any type', async (t) => {
    const ctr = new Containerd(t, registry, { release })
    const [name, blob] = [uniqueName('containerd'), randomBlob(10_000)]
    await registry.pushBlob(name, blob)
    const { bytes } = await registry.pushImage(name)
    for (const [target, content] of [
      [`${name}/blobs/${digestOf(blob)}`, blob],
      [`${name}/manifests/${digestOf(bytes)}`, bytes],
    ] as const) {
      const head = await ctr.head(target, ['Accept: */*'])
      assertContentHeaders(head, { digest: digestOf(content), size: content.length })
      const got = await ctr.send('GET', target, { headers: ['Accept: */*', ...release.codings] })
      assertPlain(got, content)
    }
  })

  for (const namespace of NAMESPACES) {
    void t.test(`referrers 2.x ${namespace ?? 'without ns'}: of several types, all of them and no other`, async (t) => {
      const ctr = new Containerd(t, registry, { release, namespace })
      const name = uniqueName('containerd')
      const subject = (await registry.pushImage(name)).descriptor
      const attached: Descriptor[] = []
      for (const artifactType of ['application/a', 'application/b', 'application/c']) {
        attached.push((await registry.pushImage(name, {}, { subject, artifactType })).descriptor)
      }
      const query = '?artifactType=application%2Fa&artifactType=application%2Fb'
      const headers = [`Accept: ${mediaTypes.index}, */*`, ...release.codings]
      const answer = await ctr.send('GET', `${name}/referrers/${subject.digest}${query}`, { headers })
      assert.equal(answer.status, 200, describe(answer))
      // It reads no further than this, and wants the end there.
      assert.equal(answer.header('content-length'), String(answer.body.length))
      const { manifests } = record(answer.json())
      assert.ok(Array.isArray(manifests))
      const found = manifests.map((entry: unknown) => record(entry))
      assert.deepEqual(strings(found.map((entry) => entry['artifactType'])).toSorted(), [
        'application/a',
        'application/b',
      ])
      const digests = attached.slice(0, 2).map((entry) => entry.digest)
      assert.deepEqual(strings(found.map((entry) => entry['digest'])).toSorted(), digests.toSorted())
    })
  }
})

function titleOf(release: Release, namespace: string | undefined): string {
  return namespace === undefined ? release.version : `${release.version} as a mirror with ?ns=${namespace}`
}

/** Requests below `/v2/`, in the order of core/remotes/docker. */
class Containerd {
  readonly #client: GoClient
  readonly #release: Release
  readonly #namespace: string | undefined

  constructor(t: TestContext, registry: RegistryClient, options: { release: Release; namespace?: string | undefined }) {
    this.#release = options.release
    this.#namespace = options.namespace
    const userAgent = `containerd/${options.release.version}`
    this.#client = new GoClient(t, registry.origin, { userAgent, isKeptAlive: true })
  }

  send(method: string, target: string, request: { headers?: readonly string[]; body?: Buffer } = {}): Promise<Answer> {
    return this.#client.send(method, this.#target(target), request)
  }

  head(target: string, headers: readonly string[]): Promise<Answer> {
    return this.send('HEAD', target, { headers })
  }

  /** Pushes a blob that is not there yet. */
  async push(name: string, bytes: Buffer, mediaType: string): Promise<Descriptor> {
    const digest = digestOf(bytes)
    const target = await this.#begin(name, digest, mediaType)
    await this.finish(target, bytes)
    const again = await this.head(`${name}/blobs/${digest}`, [`Accept: ${mediaType}, */*`])
    assert.equal(again.status, 200, 'the blob would be pushed again')
    return typed({ mediaType, digest, size: bytes.length }, mediaType)
  }

  /** Sends a blob to where an upload goes on. */
  async finish(target: string, bytes: Buffer): Promise<void> {
    const answer = await this.#client.send('PUT', this.#finishTarget(target, bytes), {
      headers: [`Content-Type: ${mediaTypes.octetStream}`],
      body: bytes,
    })
    assert.equal(answer.status, 201, describe(answer))
    assert.equal(answer.header('docker-content-digest'), digestOf(bytes))
  }

  async cutOffPush(name: string, bytes: Buffer, sentBytes: number): Promise<void> {
    const target = await this.#begin(name, digestOf(bytes), mediaTypes.layer)
    const headers = [`Content-Type: ${mediaTypes.octetStream}`]
    await this.#client.cutOffUpload('PUT', this.#finishTarget(target, bytes), { headers, body: bytes, sentBytes })
  }

  mount(name: string, source: string, digest: string): Promise<Answer> {
    return this.#client.send('POST', this.#target(`${name}/blobs/uploads/`, `mount=${digest}&from=${source}`))
  }

  /** Pushes a manifest under a tag that is not there yet. */
  async pushManifest(name: string, tag: string, manifest: Buffer): Promise<void> {
    assert.equal((await this.head(`${name}/manifests/${tag}`, [`Accept: ${mediaTypes.image}, */*`])).status, 404)
    await this.putManifest(name, tag, manifest)
  }

  async putManifest(name: string, tag: string, manifest: Buffer): Promise<void> {
    const headers = [`Content-Type: ${mediaTypes.image}`]
    const answer = await this.send('PUT', `${name}/manifests/${tag}`, { headers, body: manifest })
    assert.equal(answer.status, 201, describe(answer))
    assert.equal(answer.header('docker-content-digest'), digestOf(manifest))
  }

  /** Asserts that a second push would find the manifest under its tag, and send nothing. */
  async assertPushed(name: string, tag: string, manifest: Buffer): Promise<void> {
    const head = await this.head(`${name}/manifests/${tag}`, [`Accept: ${mediaTypes.image}, */*`])
    assertContentHeaders(head, { digest: digestOf(manifest), size: manifest.length, mediaType: mediaTypes.image })
  }

  async fetch(target: string, mediaType: string, expected: Buffer): Promise<void> {
    const headers = [`Accept: ${mediaType}, */*`, ...this.#release.codings]
    assertPlain(await this.send('GET', target, { headers }), expected)
  }

  /** Asserts that content comes from an offset to its end, and gives it. */
  async fetchFrom(target: string, offset: number, sizeBytes: number): Promise<Buffer> {
    const answer = await this.send('GET', target, { headers: this.#partHeaders(offset) })
    assert.equal(answer.status, 206, describe(answer))
    assert.equal(answer.header('content-range'), `bytes ${offset}-${sizeBytes - 1}/${sizeBytes}`)
    assert.equal(answer.header('content-encoding'), undefined)
    assert.equal(answer.header('content-length'), String(sizeBytes - offset))
    return answer.body
  }

  /** Reads a part of a blob and breaks the connection. */
  cutOff(target: string, readBytes: number, offset?: number): Promise<Buffer> {
    const headers =
      offset === undefined ? [`Accept: ${mediaTypes.layer}, */*`, ...this.#release.codings] : this.#partHeaders(offset)
    return this.#client.cutOffDownload(this.#target(target), { headers, readBytes })
  }

  #partHeaders(offset: number): string[] {
    return [`Accept: ${mediaTypes.layer}, */*`, ...this.#release.codings, `Range: bytes=${offset}-`]
  }

  /** HEAD for a blob that is not there, and POST; gives where the upload goes on. */
  async #begin(name: string, digest: string, mediaType: string): Promise<string> {
    assert.equal((await this.head(`${name}/blobs/${digest}`, [`Accept: ${mediaType}, */*`])).status, 404)
    return uploadTarget(await this.send('POST', `${name}/blobs/uploads/`))
  }

  #finishTarget(target: string, bytes: Buffer): string {
    const parameters = this.#namespace === undefined ? {} : { ns: this.#namespace }
    return withQuery(target, { digest: digestOf(bytes), ...parameters })
  }

  /** Path and query as they are sent; the namespace goes before a mount, but after all else. */
  #target(path: string, mount?: string): string {
    const namespace = this.#namespace === undefined ? [] : [`ns=${this.#namespace}`]
    const query = [...namespace, ...(mount === undefined ? [] : [mount])].join('&')
    if (query === '') return `/v2/${path}`
    return `/v2/${path}${path.includes('?') ? '&' : '?'}${query}`
  }
}

/** Asserts that content came whole and without a coding. */
function assertPlain(answer: Answer, expected: Buffer): void {
  assert.equal(answer.status, 200, describe(answer))
  assert.equal(answer.header('content-encoding'), undefined)
  assert.equal(answer.header('content-length'), String(expected.length))
  assert.ok(answer.body.equals(expected), describe(answer))
}
