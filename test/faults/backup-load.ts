import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Descriptor, digestOf } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { entrepot } from '../operations/command.ts'
import { emptyInstallation } from '../operations/management-request.ts'
import { assertContent, describe, record, RegistryClient, strings } from '../registry-client.ts'

/** What is deleted is garbage at once, and removed as fast as can be. */
export const NO_GRACE = {
  trash: { age: '0s' },
  garbagecollection: { age: '0s', interval: '1h', rate: 0 },
}

/** An image that was pushed. */
export interface Image {
  readonly name: string
  readonly bytes: Buffer
  readonly descriptor: Descriptor
  /** Set before it is asked for. */
  isDeleted: boolean
}

/** Pushes an image, again when the collector takes its blobs before its manifest comes: there is no grace. */
export async function pushBesideCollector(client: RegistryClient, name: string): Promise<Image> {
  for (;;) {
    try {
      return { name, ...(await client.pushImage(name)), isDeleted: false }
    } catch (error) {
      assert.match(String(error), /MANIFEST_BLOB_UNKNOWN/)
    }
  }
}

/**
 * Pushes images, deletes every second one of them, and collects garbage, without rest until it is ended.
 * @param clients of the instances that do that in turn.
 */
export function startLoad(
  t: TestContext,
  { clients, collect }: { clients: readonly RegistryClient[]; collect: () => Promise<void> },
  images: Image[],
): () => Promise<void> {
  const state = { isOver: false }
  t.after(() => (state.isOver = true))
  const push = async () => {
    while (!state.isOver) {
      const name = `load/${images.length % 5}`
      const client = clients[images.length % clients.length]
      assert.ok(client)
      images.push(await pushBesideCollector(client, name))
      const old = images[images.length - 6]
      if (images.length % 2 === 0 || old === undefined || old.isDeleted) continue
      old.isDeleted = true
      const answer = await client.delete(`/v2/${old.name}/manifests/${old.descriptor.digest}`)
      assert.equal(answer.status, 202, describe(answer))
      if (images.length % 6 === 1) await collect()
    }
  }
  const running = Promise.all([push(), push()])
  return async () => {
    state.isOver = true
    await running
  }
}

/** That an image can be pulled, byte for byte. */
export async function assertWhole(client: RegistryClient, { name, bytes, descriptor }: Image): Promise<void> {
  assertContent(await client.get(`/v2/${name}/manifests/${descriptor.digest}`), { bytes, ...descriptor })
  const { config, layers } = record(JSON.parse(bytes.toString()))
  assert.ok(Array.isArray(layers))
  for (const child of [config, ...layers]) {
    const { digest } = record(child)
    const answer = await client.get(`/v2/${name}/blobs/${String(digest)}`)
    assert.equal(answer.status, 200, describe(answer))
    assert.equal(digestOf(answer.body), digest)
  }
}

/**
 * The ids of the backups in a place.
 * @param env leads to it.
 */
export async function listBackups(place: string, env: Record<string, string> = {}): Promise<string[]> {
  const { code, stdout, stderr } = await entrepot(['backup', '--list', '--json', place], { env })
  if (code !== 0) {
    assert.match(stderr, /there is no backup in /)
    return []
  }
  const { backups } = record(JSON.parse(stdout))
  assert.ok(Array.isArray(backups))
  return strings(backups.map((backup: unknown) => record(backup)['id']))
}

/** Restores the newest backup, and starts a registry on it. */
export async function restoreFrom(t: TestContext, backups: string): Promise<RegistryClient> {
  const { folder: data, env } = await emptyInstallation(t)
  const { code, stdout, stderr } = await entrepot(['restore', '--json', backups], { env })
  assert.equal(code, 0, stdout + stderr)
  const { findings } = record(JSON.parse(stdout))
  assert.ok(Array.isArray(findings))
  // What was garbage is garbage in the backup, too.
  const errors = findings.filter((found: unknown) => record(found)['severity'] === 'error')
  assert.deepEqual(errors, [], 'the check of what was restored')
  const registry = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory: data } } } })
  return new RegistryClient(registry.url)
}
