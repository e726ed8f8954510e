import assert from 'node:assert/strict'
import { generateKeyPairSync, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createUrlSigner } from './url-signing.ts'

const DURATION_MS = 600_000

test('a token for Cloudflare is the HMAC of path and time, as its documentation makes it', () => {
  const signer = createUrlSigner({ type: 'cloudflare', secret: 'mysecrettoken', durationMs: DURATION_MS })
  // printf '%s' /images/cat.jpg1484063787 | openssl dgst -sha256 -hmac mysecrettoken -binary | base64
  const target = '/images/cat.jpg?verify=1484063787-XsZ5NmtNBxOd4f4fBOtqVmpWRnDRNkHKVZieqDPKu3U%3D'
  assert.equal(
    signer.sign('https://downloads.example.com/images/cat.jpg', 1_484_063_787_999),
    `https://downloads.example.com${target}`,
  )
  assert.ok(signer.verifies(target, 1_484_063_787_000))
})

test('a token for Alibaba Cloud CDN is the one of its documentation', () => {
  const signer = createUrlSigner({ type: 'alibaba', secret: 'aliyuncdnexp1234', durationMs: DURATION_MS })
  const path = '/video/standard/test.mp4'
  const nowMs = 1_444_435_200_000
  assert.ok(signer.verifies(`${path}?auth_key=1444435200-0-0-23bf85053008f5c0e791667a313e28ce`, nowMs))
  const [one, other] = [signer.sign(`http://a.example${path}`, nowMs), signer.sign(`http://a.example${path}`, nowMs)]
  assert.match(
    one,
    /^http:\/\/a\.example\/video\/standard\/test\.mp4\?auth_key=1444435200-[0-9a-f]{32}-0-[0-9a-f]{32}$/,
  )
  assert.notEqual(one, other)
  assert.ok(signer.verifies(new URL(one).pathname + new URL(one).search, nowMs))
})

test('a token holds for its path, its secret and its time alone', () => {
  for (const type of ['cloudflare', 'alibaba'] as const) {
    const signer = createUrlSigner({ type, secret: 'one', durationMs: DURATION_MS })
    const nowMs = 1_700_000_000_000
    const { pathname, search } = new URL(signer.sign('https://cdn.example.com/v2/a/blobs/sha256:0', nowMs))
    assert.ok(signer.verifies(pathname + search, nowMs + DURATION_MS), type)
    assert.ok(!signer.verifies(pathname + search, nowMs + DURATION_MS + 1_000), `${type} after its time`)
    assert.ok(!signer.verifies(pathname + search, nowMs - 120_000), `${type} before its time`)
    assert.ok(!signer.verifies(`${pathname}0${search}`, nowMs), `${type} of another path`)
    assert.ok(!signer.verifies(pathname, nowMs), `${type} without one`)
    assert.ok(!signer.verifies(`${pathname}${search.slice(0, -1)}%`, nowMs), `${type} cut off`)
    const stranger = createUrlSigner({ type, secret: 'two', durationMs: DURATION_MS })
    assert.ok(!stranger.verifies(pathname + search, nowMs), `${type} of another secret`)
  }
})

test('a URL for CloudFront carries a canned policy that its public key verifies', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-cdn-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const file = join(folder, 'key.pem')
  writeFileSync(file, privateKey.export({ type: 'pkcs1', format: 'pem' }))
  const signer = createUrlSigner({
    type: 'cloudfront',
    keyPairId: 'K2JCJMDEHXQW5F',
    privateKey: file,
    durationMs: 3_000_000,
  })
  const resource = 'https://d111111abcdef8.cloudfront.net/cdn/v2/a/blobs/sha256:0'
  const url = new URL(signer.sign(resource, 1_700_000_000_000))
  assert.equal(url.origin + url.pathname, resource)
  assert.deepEqual([...url.searchParams.keys()], ['Expires', 'Signature', 'Key-Pair-Id'])
  assert.equal(url.searchParams.get('Expires'), '1700003000')
  assert.equal(url.searchParams.get('Key-Pair-Id'), 'K2JCJMDEHXQW5F')
  const policy = `{"Statement":[{"Resource":"${resource}","Condition":{"DateLessThan":{"AWS:EpochTime":1700003000}}}]}`
  const signature = (url.searchParams.get('Signature') ?? '')
    .replaceAll('-', '+')
    .replaceAll('_', '=')
    .replaceAll('~', '/')
  assert.ok(verify('RSA-SHA1', Buffer.from(policy), publicKey, Buffer.from(signature, 'base64')))
})
