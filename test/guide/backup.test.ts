import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { readBlocks, stepsOf, toPattern } from './guide-text.ts'

const BIN = fileURLToPath(new URL('../../bin', import.meta.url))

test('a registry is backed up and restored as the guide says', async (t) => {
  const registry = await startRegistry(t)
  const folder = dirname(registry.dataDirectory)
  await symlink(BIN, join(folder, 'bin'))
  const { descriptor } = await new RegistryClient(registry.url).pushImage('library/hello', { reference: 'v1' })
  const steps = stepsOf(await readBlocks('backup', 'en'))
  assert.equal(steps.length, 4)
  for (const { commands, output } of steps) {
    const shell = spawn('sh', ['-c', commands], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    const [printed, errors] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')])
    // On a busy machine there is progress, too.
    assert.equal(shell.exitCode, 0, `${commands}: ${errors}`)
    assert.match(printed.trimEnd(), toPattern(output ?? ''), commands)
  }
  const rootdirectory = join(folder, 'drill')
  const restored = await startRegistry(t, { config: { storage: { filesystem: { rootdirectory } } } })
  const answer = await new RegistryClient(restored.url).get('/v2/library/hello/manifests/v1')
  assert.equal(answer.header('docker-content-digest'), descriptor.digest)
})
