import assert from 'node:assert/strict'
import { test } from 'node:test'
import { uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { Random } from '../random.ts'
import { RegistryClient } from '../registry-client.ts'
import { faultSeed } from './fault-seed.ts'
import { expectSound } from './fsck.ts'
import { type Observation, isLinearizable } from './linearizability.ts'
import { TagHistory } from './tag-history.ts'
import { byTier } from './tier.ts'

const HISTORIES = byTier({ quick: 16, ci: 200, release: 5_000 })
const LANES = 4

const put = (begin: number, end: number, value: string): Observation<string> => ({
  begin,
  end,
  text: 'put',
  apply: () => value,
})
const get = (begin: number, end: number, value: string): Observation<string> => ({
  begin,
  end,
  text: 'get',
  apply: (state) => (state === value ? state : undefined),
})
const check = (...clients: Observation<string>[][]) => isLinearizable(clients, '')

test('a tag is one register for clients that move, delete and read it at the same time, while garbage is collected', async (t) => {
  const seed = faultSeed(t)
  const maintenance = { trash: { age: '0s' }, garbagecollection: { age: '0s', interval: '5ms' } }
  const registry = await startRegistry(t, { config: { log: { level: 'warn' }, storage: { maintenance } } })
  const client = new RegistryClient(registry.url)
  let next = 0
  const work = async () => {
    while (next < HISTORIES) {
      const number = next++
      const history = new TagHistory(uniqueName('histories'), new Random(`${seed}/${number}`), client)
      await history.run()
      await history.verify()
    }
  }
  await Promise.all(Array.from({ length: LANES }, work))
  await registry.stop()
  await expectSound(t, registry.dataDirectory)
})

test('a history is refused in which a read misses what was acknowledged, or what was deleted comes back', () => {
  assert.ok(check([put(0, 3, 'a')], [get(1, 2, ''), get(4, 5, 'a')]))
  assert.ok(check([put(0, 5, 'a')], [get(1, 2, 'a'), get(3, 4, 'a')]))
  assert.ok(!check([put(0, 1, 'a')], [get(2, 3, '')]), 'a read after the acknowledgement misses it')
  assert.ok(!check([put(0, 5, 'a')], [get(1, 2, 'a'), get(3, 4, '')]), 'what was seen is gone again')
  assert.ok(!check([put(0, 1, 'a'), put(2, 3, '')], [get(4, 5, 'a')]), 'what was deleted is back')
})
