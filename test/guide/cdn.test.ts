import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { areProgramsPresent } from '../clients/programs.ts'
import { freePort, startRegistry } from '../harness.ts'
import { readBlocks, stepsOf, toPattern } from './guide-text.ts'

const BIN = fileURLToPath(new URL('../../bin', import.meta.url))
const REGISTRY = '127.0.0.1:5000'
const CDN = '127.0.0.1:8080'
const TRIAL = 'Try it with nginx'

test('nginx keeps what is pulled through it, as the guide says', async (t) => {
  if (!areProgramsPresent(t, ['nginx', 'curl'])) return
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-cdn-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  // Run by root, nginx works as another user.
  await chmod(folder, 0o755)
  await symlink(BIN, join(folder, 'bin'))
  const blocks = await readBlocks('cdn', 'en')
  const cdn = `127.0.0.1:${await freePort()}`
  const write = async (name: string, language: string, here: (text: string) => string) => {
    const block = blocks.find((found) => found.heading === TRIAL && found.language === language)
    assert.ok(block !== undefined, `the guide has no ${name}`)
    await writeFile(join(folder, name), here(block.text))
  }
  await write('config.yml', 'yaml', (text) => text.replaceAll(CDN, cdn))
  const registry = await startRegistry(t, { configFile: join(folder, 'config.yml') })
  const here = (text: string) => text.replaceAll(CDN, cdn).replaceAll(REGISTRY, registry.host)
  await write('nginx.conf', 'nginx', here)

  const [serving, ...steps] = stepsOf(blocks, TRIAL)
  assert.equal(serving?.commands, 'bin/entrepot serve config.yml &\n', 'this test has started what the guide starts')
  const stopping = steps.at(-1)
  assert.match(stopping?.commands ?? '', /-s stop/)
  const run = async (commands: string) => {
    const shell = spawn('sh', ['-c', here(commands)], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    const [printed, errors] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')])
    assert.equal(errors, '', commands)
    return printed
  }
  try {
    for (const { commands, output } of steps.slice(0, -1)) {
      const printed = await run(commands)
      if (output !== undefined) assert.match(printed.trimEnd(), toPattern(here(output)), commands)
    }
  } finally {
    await run(stopping?.commands ?? '')
  }
})
