import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { randomBlob } from '../content.ts'
import { contentFile } from '../faults/corruptions.ts'
import { startRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'
import { readBlocks, stepsOf, toPattern } from './guide-text.ts'

const BIN = fileURLToPath(new URL('../../bin', import.meta.url))

test('a folder is recovered as the guide says', async (t) => {
  const registry = await startRegistry(t)
  const client = new RegistryClient(registry.url)
  const folder = dirname(registry.dataDirectory)
  await symlink(BIN, join(folder, 'bin'))
  const blocks = await readBlocks('recover', 'en')
  const follow = async (heading: string, from = 0, to?: number) => {
    const steps = stepsOf(blocks, heading).slice(from, to)
    assert.ok(steps.length > 0, 'the guide has no such section')
    for (const { commands, output } of steps) {
      const shell = spawn('sh', ['-c', commands], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
      const [printed, errors] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')])
      assert.equal(errors, '', commands)
      if (output !== undefined) assert.match(printed.trimEnd(), toPattern(output), commands)
    }
  }

  const { descriptor } = await client.pushImage('library/hello', { reference: 'v1' })
  const layer = await client.pushBlob('library/hello', randomBlob(5_000))
  await registry.stop()
  await follow('Keep a copy')

  await registry.start()
  await writeFile(contentFile(registry.dataDirectory, layer.digest), randomBlob(5_000))
  await follow('A damaged blob', 0, 1)
  await registry.stop()
  await follow('A damaged blob', 1)

  await registry.start()
  await client.pushImage('library/later', { reference: 'v1' })
  await registry.stop()
  await writeFile(join(registry.dataDirectory, 'entrepot.db'), 'lost')
  await follow('A lost database', 0, 1)
  await registry.start()
  assert.equal((await client.get('/v2/library/hello/manifests/v1')).status, 200)
  assert.equal((await client.get('/v2/library/later/manifests/v1')).status, 404)
  await registry.stop()
  await follow('A lost database', 1)

  await follow('A lost disk, or a folder that was copied back')
  await registry.start()
  const answer = await client.get('/v2/library/hello/manifests/v1')
  assert.equal(answer.header('docker-content-digest'), descriptor.digest)
})
