import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type BreakingProxy, startBreakingProxy } from './breaking-proxy.ts'
import type { Client } from './client.ts'
import { startRegistry } from '../harness.ts'
import { DOCKER_MANIFEST } from './oci-layout.ts'
import { asHeld, RegistryContent, type ServedImage } from './registry-content.ts'
import type { Setup } from './setup.ts'

/** The line breaks in the middle of the base layer, which is larger in every compression. */
const BREAK_AT_BYTES = 8 * 1024 * 1024

/**
 * Pushes the Debian image and reads it back without the client: it must be the image of the fixture, in the
 * client's own compression. Clients that copy bytes leave the very same manifest.
 */
export async function pushWhole(setup: Setup, client: Client, reference: string): Promise<ServedImage> {
  const expected = await setup.images.single.held()
  await client.push(setup.images, `${setup.registry.host}/${reference}`)
  const served = await setup.content.image(...split(reference))
  assert.deepEqual(served.diffIds, expected.diffIds)
  return served
}

/** Pulls an image and compares what the client then holds with what the registry serves. */
export async function pullWhole(setup: Setup, client: Client, reference: string): Promise<void> {
  const served = await setup.content.image(...split(reference))
  const held = await client.pull(`${setup.registry.host}/${reference}`)
  const isConverted = client.convertsToOci === true && served.mediaType === DOCKER_MANIFEST
  assert.deepEqual(held, isConverted ? { ...asHeld(served), digest: held.digest } : asHeld(served))
}

/**
 * Breaks the line in the middle of the base layer. The client goes on by itself or is run again; in between, the
 * tag must not show a half image. The registry is an empty one: from any other, clients mount what they would push.
 */
export async function pushOverBreakingLine(t: TestContext, setup: Setup, client: Client): Promise<void> {
  const registry = await startRegistry(t)
  const content = new RegistryContent(registry.url)
  const proxy = await startBreakingProxy(t, registry.host)
  const reference = `${proxy.host}/broken/push:1`
  proxy.breakUploadAt(BREAK_AT_BYTES)
  const isFinished = await succeeds(client.push(setup.images, reference))
  assertBrokeOnce(proxy)
  t.diagnostic(isFinished ? 'went on by itself' : 'had to be run again')
  if (!isFinished) {
    assert.equal(await content.status('broken/push', '1'), 404)
    await client.push(setup.images, reference)
  }
  const served = await content.image('broken/push', '1')
  assert.deepEqual(served.diffIds, (await setup.images.single.held()).diffIds)
}

/** Breaks the line in the middle of the base layer's download; the client goes on by itself or is run again. */
export async function pullOverBreakingLine(t: TestContext, setup: Setup, client: Client): Promise<BreakingProxy> {
  const proxy = await startBreakingProxy(t, setup.registry.host)
  await setup.content.put(setup.images.single, 'broken/pull', '1')
  proxy.breakDownloadAt(BREAK_AT_BYTES)
  const reference = `${proxy.host}/broken/pull:1`
  const first = await client.pull(reference).catch(() => undefined)
  assertBrokeOnce(proxy)
  t.diagnostic(first === undefined ? 'had to be run again' : 'went on by itself')
  assert.deepEqual(first ?? (await client.pull(reference)), await setup.images.single.held())
  return proxy
}

function assertBrokeOnce(proxy: BreakingProxy): void {
  assert.equal(proxy.passages.filter((passage) => passage.isBroken).length, 1, 'the line did not break')
}

/** Asserts that a broken download was taken up where it ended, not begun again. */
export function assertResumedByRange(proxy: BreakingProxy): void {
  const broken = proxy.passages.findIndex((passage) => passage.isBroken)
  const parts = proxy.passages.slice(broken + 1).filter((passage) => passage.path === proxy.passages[broken]?.path)
  assert.deepEqual(
    parts.map((passage) => ({ asksForPart: passage.range?.startsWith('bytes='), status: passage.status })),
    [{ asksForPart: true, status: 206 }],
  )
}

async function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  )
}

function split(reference: string): [repository: string, tag: string] {
  const colon = reference.lastIndexOf(':')
  return [reference.slice(0, colon), reference.slice(colon + 1)]
}
