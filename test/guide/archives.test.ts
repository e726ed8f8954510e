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

test('an image goes out and comes in as the guide says', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const folder = dirname(registry.dataDirectory)
  await symlink(BIN, join(folder, 'bin'))
  const { descriptor } = await client.pushImage('library/hello', { reference: 'v1' })
  const steps = stepsOf(await readBlocks('archives', 'en'))
  assert.equal(steps.length, 4)
  for (const { commands, output } of steps) {
    const shell = spawn('sh', ['-c', commands], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    const [printed, errors] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')])
    assert.equal(shell.exitCode, 0, `${commands}: ${errors}`)
    if (output !== undefined) assert.match(printed.trimEnd(), toPattern(output), commands)
  }
  const answer = await client.get('/v2/library/again/manifests/v1')
  assert.equal(answer.header('docker-content-digest'), descriptor.digest)
  assert.equal((await client.get('/v2/library/docker/manifests/v1')).status, 200)
})
