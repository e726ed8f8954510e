import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, mediaTypes, randomBlob } from '../content.ts'
import { assertContent, RegistryClient } from '../registry-client.ts'

const PAUSE_MS = 50

/** What a client counts of its pushes. */
export interface Pushed {
  /** What must be there from now on. */
  readonly acknowledged: { readonly path: string; readonly bytes: Buffer; readonly digest: string }[]
  /** How often the registry said that it cannot now. */
  unavailable: number
}

/** How a client pushes. */
export interface Pushing {
  readonly origin: string
  readonly repository: string
  /** How its tags begin. */
  readonly tag: string
  /** A blob of all its images, and perhaps of those of others. */
  readonly layer: Buffer
  readonly isOver: () => boolean
  readonly onAcknowledged?: () => void
}

/**
 * Pushes images one after the other, until the test says so. Whatever is not acknowledged must be a 503 that says when to
 * come back.
 */
export async function pushUntil({
  origin,
  repository,
  tag,
  layer,
  isOver,
  onAcknowledged = () => {},
}: Pushing): Promise<Pushed> {
  const pushed: Pushed = { acknowledged: [], unavailable: 0 }
  const send = async (method: string, path: string, body: Buffer, headers: Record<string, string> = {}) => {
    const answer = await fetch(origin + path, { method, body, headers })
    const text = await answer.text()
    if (answer.ok) {
      onAcknowledged()
      return true
    }
    assert.equal(answer.status, 503, `${method} ${path} gave ${answer.status} ${text}`)
    assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/)
    pushed.unavailable++
    return false
  }
  for (let number = 0; !isOver(); number++) {
    const config = randomBlob(100)
    const blobs = [layer, config].map((bytes) => ({ bytes, digest: digestOf(bytes) }))
    let isWhole = true
    for (const { bytes, digest } of blobs) {
      isWhole &&= await send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, bytes)
      if (isWhole) pushed.acknowledged.push({ path: `/v2/${repository}/blobs/${digest}`, bytes, digest })
    }
    const document = imageDocument(describe(config, mediaTypes.config), [describe(layer, mediaTypes.layer)])
    const path = `/v2/${repository}/manifests/${tag}${number}`
    isWhole &&= await send('PUT', path, document, { 'content-type': mediaTypes.image })
    if (isWhole) pushed.acknowledged.push({ path, bytes: document, digest: digestOf(document) })
    else await sleep(PAUSE_MS)
  }
  return pushed
}

/** Asserts that all that was acknowledged is pulled, from each of the registries in turn. */
export async function assertPulled(origins: readonly string[], pushed: readonly Pushed[]): Promise<void> {
  const clients = origins.map((origin) => new RegistryClient(origin))
  const acknowledged = new Map(pushed.flatMap((one) => one.acknowledged).map((content) => [content.path, content]))
  assert.ok(acknowledged.size > 2 * pushed.length, `only ${acknowledged.size} pushes were acknowledged`)
  for (const [number, content] of [...acknowledged.values()].entries()) {
    const client = clients[number % clients.length]
    assert.ok(client !== undefined)
    assertContent(await client.get(content.path), content)
  }
}

function describe(bytes: Buffer, mediaType: string) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}
