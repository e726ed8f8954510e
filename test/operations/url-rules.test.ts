import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { imageDocument, mediaTypes, uniqueName, unknownDigest } from '../content.ts'
import { assertRefused, describe, startClient } from '../registry-client.ts'

const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
const GOOD = 'https://layers.example.com/good/1'
const BAD = 'https://layers.example.com/bad/1'
const OTHER = 'http://elsewhere.example/1'
const NO_WEB = ['ftp://layers.example.com/good/1', '/good/1', `${GOOD}#part`]

/** Asserts which of the URLs layers may name, under `validation` as a file has it. */
async function assertAllowed(t: TestContext, validation: object, allowed: readonly string[]): Promise<void> {
  const client = await startClient(t, { config: { validation } })
  const name = uniqueName()
  const [config, layer] = await Promise.all([client.pushBlob(name), client.pushBlob(name)])
  for (const url of [GOOD, BAD, OTHER, ...NO_WEB]) {
    // One URL that is refused is enough, wherever it stands.
    const urls = allowed.includes(GOOD) ? [GOOD, url] : [url]
    const foreign = { mediaType: FOREIGN, digest: unknownDigest(), size: 1024, urls }
    const bytes = imageDocument(config, [layer, foreign])
    const answer = await client.putManifest(name, 'v1', bytes, mediaTypes.image)
    if (allowed.includes(url)) assert.equal(answer.status, 201, `${url}: ${describe(answer)}`)
    else assertRefused(answer, 400, 'MANIFEST_INVALID')
  }
}

const deny = ['/bad/']
const allow = ['^https://layers\\.example\\.com/']

test('URLs of layers kept elsewhere', { concurrency: 2 }, async (t) => {
  void t.test('with "deny" alone, what it does not match is accepted, if it is of the web', async (t) => {
    await assertAllowed(t, { manifests: { urls: { deny } } }, [GOOD, OTHER])
  })

  void t.test('with "allow" alone, only what it matches is accepted', async (t) => {
    await assertAllowed(t, { manifests: { urls: { allow } } }, [GOOD, BAD])
  })

  void t.test('with both, "deny" outweighs "allow", also where "enabled" outweighs "disabled"', async (t) => {
    const manifests = { urls: { allow, deny } }
    await assertAllowed(t, { enabled: true, disabled: true, manifests }, [GOOD])
  })

  void t.test('without rules, or with rules switched off, all are accepted, which distribution does not', async (t) => {
    const all = [GOOD, BAD, OTHER, ...NO_WEB]
    await assertAllowed(t, {}, all)
    await assertAllowed(t, { enabled: false, disabled: true, manifests: { urls: { deny } } }, all)
  })
})
