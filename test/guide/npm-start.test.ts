import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort } from '../harness.ts'
import { startByNpm } from './npm-start.ts'

test('SIGTERM to npm ends the registry in peace and leaves no process behind', { timeout: 60_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-npm-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  const server = await startByNpm(t, `127.0.0.1:${await freePort()}`, join(folder, 'data'))
  await server.end('SIGTERM')
  assert.match(server.output(), /stopped\s*$/)
})
