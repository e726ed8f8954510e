import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import type { TestRegistry } from '../harness.ts'
import { record } from '../registry-client.ts'
import { knownDatabase, testDatabase } from '../test-database.ts'
import { testStorage } from '../test-storage.ts'
import { entrepot, temporaryFolder } from './command.ts'

/** The answer to an operation. */
export interface ManagementAnswer {
  readonly status: number
  readonly body: Record<string, unknown>
}

/** Asks the running server for an operation, as `entrepot` does, over the socket in its folder. */
export async function manage(
  registry: TestRegistry,
  method: string,
  path: string,
  body?: object,
): Promise<ManagementAnswer> {
  const socketPath = join(registry.dataDirectory, 'entrepot.sock')
  const headers = { host: 'localhost', ...(body !== undefined && { 'content-type': 'application/json' }) }
  const outgoing = httpRequest({ socketPath, method, path: `/api/v1/${path}`, headers, agent: false })
  outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  const [incoming] = await once(outgoing, 'response')
  return { status: incoming.statusCode, body: record(JSON.parse(await text(incoming))) }
}

/** Collects garbage once, whole. */
export async function collectGarbage(registry: TestRegistry): Promise<void> {
  const { status, body } = await manage(registry, 'POST', 'garbage-collection/runs')
  assert.deepEqual([status, body['error']], [200, null], JSON.stringify(body))
}

/** Restores a tag or a manifest. */
export async function restore(
  registry: TestRegistry,
  repository: string,
  reference: string,
  as?: string,
): Promise<ManagementAnswer> {
  return manage(registry, 'POST', 'trash/restorations', { repository, reference, ...(as !== undefined && { as }) })
}

/** What rests, as `tag@digest` or `@digest` for a manifest. */
export async function listTrash(registry: TestRegistry, repository: string): Promise<string[]> {
  const { status, body } = await manage(registry, 'GET', `trash?${new URLSearchParams({ repository }).toString()}`)
  assert.equal(status, 200, JSON.stringify(body))
  const { entries } = body
  assert.ok(Array.isArray(entries))
  return entries.map((entry: unknown) => {
    const { tag, digest } = record(entry)
    return `${typeof tag === 'string' ? tag : ''}@${String(digest)}`
  })
}

/** Runs `entrepot` on a registry's folder, and gives what it printed as JSON. */
export async function runJson(registry: TestRegistry, args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await entrepot([...args, '--json'], { env: folderOf(registry) })
  assert.equal(code, 0, stderr)
  return record(JSON.parse(stdout))
}

/** The environment in which `entrepot` works on what a registry has. */
export function folderOf({ dataDirectory }: Pick<TestRegistry, 'dataDirectory'>): Record<string, string> {
  return installationIn(dataDirectory, knownDatabase(dataDirectory))
}

/** A folder without a registry, with what it keeps elsewhere, and the environment in which `entrepot` works there. */
export async function emptyInstallation(t: TestContext): Promise<{ folder: string; env: Record<string, string> }> {
  const folder = join(await temporaryFolder(t), 'data')
  return { folder, env: installationIn(folder, await testDatabase(t, folder)) }
}

function installationIn(folder: string, databaseUrl: string | undefined): Record<string, string> {
  const s3 = testStorage(folder)
  return {
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: folder,
    ...(databaseUrl !== undefined && { REGISTRY_DATABASE_URL: databaseUrl }),
    ...(s3 !== undefined && { REGISTRY_STORAGE_S3: JSON.stringify(s3) }),
  }
}
