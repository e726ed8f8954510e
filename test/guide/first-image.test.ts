import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { test } from 'node:test'
import { startDocker } from '../clients/docker.ts'
import { isClientPresent } from '../clients/programs.ts'
import { createSandbox, type Sandbox } from '../clients/sandbox.ts'
import { freePort } from '../harness.ts'
import { readBlocks, type Step, stepsOf, toPattern } from './guide-text.ts'
import { startByNpm } from './npm-start.ts'

type Run = Sandbox['run']

const ADDRESS = '127.0.0.1:5000'

test('the walk to a first image works as it is written', async (t) => {
  const blocks = await readBlocks('first-image', 'en')
  const stepsUnder = (heading: string) => stepsOf(blocks, heading)
  const sandbox = await createSandbox(t)
  const folder = sandbox.newPath('walk')
  await mkdir(folder)
  const host = `127.0.0.1:${await freePort()}`
  const here = (text: string) => text.replaceAll(ADDRESS, host)
  const inFolder: Run = async (...command) => sandbox.run(...command)
  const follow = async (steps: readonly Step[], run = inFolder) => {
    assert.ok(steps.length > 0, 'the guide has no such section')
    for (const { commands, output } of steps) {
      const printed = await run('sh', '-exc', `cd ${folder}\n${here(commands)}`)
      if (output !== undefined) assert.match(printed.replaceAll('\r', '').trimEnd(), toPattern(here(output)), commands)
    }
  }

  const [start] = stepsUnder('1. Start')
  assert.equal(start?.commands, 'npm ci && npm start\n', 'this test starts what "npm ci" has installed')
  const server = await startByNpm(t, host, sandbox.newPath('data'))
  assert.match(server.output().trimEnd(), toPattern(here(start.output ?? '')))
  await follow(stepsUnder('2. Make an image'))

  let pushes = 0
  for (const [heading, client] of [
    ['Docker', 'docker'],
    ['Podman', 'podman'],
    ['Skopeo', 'skopeo'],
    ['crane', 'crane'],
  ] as const) {
    await t.test(`${heading} pushes and pulls the image unchanged`, async (t) => {
      if (!isClientPresent(t, client)) return
      if (client === 'docker') await startDocker(sandbox)
      await follow(stepsUnder(heading), async (...command) => sandbox.runIsolated(...command))
      pushes += 1
    })
  }
  for (const heading of ['4. Look at it with curl', '5. Delete']) {
    await t.test(`curl does what "${heading}" says`, async (t) => {
      if (pushes === 0) t.skip('no client is here that could push the image')
      else await follow(stepsUnder(heading))
    })
  }
  await t.test('Ctrl+C ends the registry in peace', async () => {
    await server.end('Ctrl+C')
    assert.match(server.output(), /stopped\s*$/)
  })
})
