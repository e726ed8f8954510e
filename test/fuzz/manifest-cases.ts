import assert from 'node:assert/strict'
import { digestOf, mediaTypes } from '../content.ts'
import { assertContent } from '../registry-client.ts'
import type { FuzzCase } from './fixture.ts'
import { type ManifestBody, brokenManifest, validManifest } from './manifest-documents.ts'
import { type Expected, answered, refused } from './oracle.ts'
import { brokenDigest, brokenTag, validDigest } from './values.ts'

/** Manifests, valid, broken in a known way and mutated, under tags and digests. */
export async function manifestCase(fuzz: FuzzCase): Promise<void> {
  const { random, fixture } = fuzz
  for (let more = random.between(3, 8); more > 0; more--) {
    const body = random.chance(25) ? validManifest(random, fixture) : brokenManifest(random, fixture)
    await random.weighted([
      [10, pushByTag],
      [4, pushByDigest],
      [1, pushWithFaultyReference],
    ] as const)(fuzz, body)
  }
  if (random.chance(2)) await pushTooLarge(fuzz)
}

/** A tag that no other case uses. */
function ownTag({ random, number }: FuzzCase): string {
  return `case-${number}.${random.bytes(6).toString('hex')}`
}

async function pushByTag(fuzz: FuzzCase, body: ManifestBody): Promise<void> {
  const tag = ownTag(fuzz)
  const isAccepted = await push(fuzz, { reference: tag, digest: digestOf(body.bytes), body })
  const target = `/v2/${fuzz.fixture.pushRepository}/manifests/${tag}`
  const expected = isAccepted ? answered(200) : refused(404, 'MANIFEST_UNKNOWN')
  const answer = await fuzz.client.send({ method: fuzz.random.pick(['GET', 'HEAD']), target }, expected)
  if (isAccepted && answer.method === 'GET') assertContent(answer, { bytes: body.bytes, digest: digestOf(body.bytes) })
}

async function pushByDigest(fuzz: FuzzCase, body: ManifestBody): Promise<void> {
  const { random, client, fixture, ledger } = fuzz
  const digest = digestOf(body.bytes, random.pick(['sha256', 'sha512']))
  const tags = random.chance(30) ? [ownTag(fuzz), ownTag(fuzz)] : []
  const query = tags.map((tag, index) => `${index === 0 ? '?' : '&'}tag=${tag}`).join('')
  const isAccepted = await push(fuzz, { reference: `${digest}${query}`, digest, body })
  const repository = fixture.pushRepository
  for (const tag of isAccepted ? tags : [])
    await client.send({ method: 'HEAD', target: `/v2/${repository}/manifests/${tag}` }, answered(200))
  if (!isAccepted || random.chance(70) || body.expected.statuses.length > 1) return
  const target = `/v2/${repository}/manifests/${digest}`
  await client.send({ method: 'DELETE', target }, answered(202))
  ledger.forget({ repository, kind: 'manifests', digest })
  await client.send({ method: 'GET', target }, refused(404, 'MANIFEST_UNKNOWN'))
}

async function push(
  { client, ledger, fixture }: FuzzCase,
  manifest: { reference: string; digest: string; body: ManifestBody },
): Promise<boolean> {
  const { reference, digest, body } = manifest
  const repository = fixture.pushRepository
  const answer = await client.send(
    {
      method: 'PUT',
      target: `/v2/${repository}/manifests/${reference}`,
      headers: { 'Content-Type': body.mediaType },
      body: body.bytes,
    },
    body.expected,
  )
  if (answer.status !== 201) return false
  assert.equal(answer.header('docker-content-digest'), digest)
  ledger.acknowledge({ repository, kind: 'manifests', digest, bytes: body.bytes })
  return true
}

async function pushWithFaultyReference({ random, client, fixture }: FuzzCase, body: ManifestBody): Promise<void> {
  const digest = digestOf(body.bytes)
  const tag = brokenTag(random)
  const reference = brokenDigest(random)
  const [path, expected] = random.pick<readonly [string, Expected | undefined]>([
    [reference.text, reference.fault],
    [tag.text, tag.fault],
    [validDigest(random), refused(400, 'DIGEST_INVALID')],
    [`${digest}?tag=ok&tag=${encodeURIComponent(tag.text)}`, refused(400, 'TAG_INVALID')],
    [`${digest}?tag=`, refused(400, 'TAG_INVALID')],
    [`latest?tag=other`, refused(400, 'TAG_INVALID')],
    [`${digest}?${Array.from({ length: 101 }, (_, index) => `tag=t${index}`).join('&')}`, refused(414, 'TAG_INVALID')],
  ])
  const target = `/v2/${fixture.pushRepository}/manifests/${path}`
  const headers = { 'Content-Type': mediaTypes.image }
  await client.send({ method: 'PUT', target, headers, body: body.bytes }, expected)
}

async function pushTooLarge(fuzz: FuzzCase): Promise<void> {
  const { random, client, fixture } = fuzz
  const target = `/v2/${fixture.pushRepository}/manifests/${ownTag(fuzz)}`
  const body = Buffer.alloc(4 * 1024 * 1024 + random.between(1, 1_000), '{"x":')
  await client.send({ method: 'PUT', target, body, streamed: random.chance(50) }, refused(413, 'SIZE_INVALID'))
}
