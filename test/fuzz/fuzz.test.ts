import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { RegistryClient, assertContent } from '../registry-client.ts'
import { startRegistry } from '../harness.ts'
import { assertNoTrace } from './disk.ts'
import { pushFixture } from './fixture.ts'
import { FuzzClient } from './fuzz-client.ts'
import { Ledger } from './ledger.ts'
import { Random } from '../random.ts'
import { byTier } from '../faults/tier.ts'
import { runCase, runCases } from './runner.ts'
import { INSPECTED, type Memory, ServerMemory } from './server-memory.ts'
import { SMUGGLED } from './smuggling-cases.ts'

const REQUESTS = Number(
  process.env['ENTREPOT_FUZZ_REQUESTS'] ?? byTier({ quick: 20_000, ci: 100_000, release: 2_000_000 }),
)
const WARM_UP_REQUESTS = REQUESTS * 0.25
const MEBIBYTE = 1024 * 1024
/** After garbage was collected: README.md says what is behind both. */
const MAX_GROWTH: Memory = { resident: 50 * MEBIBYTE, referred: 8 * MEBIBYTE }
const MIN_RAW_PERCENT = 10

test('generated requests', async (t) => {
  const seed = process.env['ENTREPOT_FUZZ_SEED'] ?? randomBytes(6).toString('hex')
  t.diagnostic(`ENTREPOT_FUZZ_SEED=${seed} ENTREPOT_FUZZ_REQUESTS=${REQUESTS}`)
  const registry = await startRegistry(t, { env: INSPECTED })
  const pid = registry.pid()
  const client = new FuzzClient(new RegistryClient(registry.url))
  t.after(() => client.close())
  const ledger = new Ledger()
  const fixture = await pushFixture(client.registry, new Random(seed), ledger)
  const memory = await ServerMemory.open(t, registry)
  const options = { seed, client, ledger, fixture }

  const only = process.env['ENTREPOT_FUZZ_CASE']
  if (only !== undefined) {
    assert.equal(await runCase(options, Number(only)), undefined)
    return
  }

  let warm: Memory = { resident: 0, referred: 0 }
  await t.test('each is answered within a second, with the status and the code that belong to it', async (t) => {
    const first = await runCases(options, { first: 0, requests: WARM_UP_REQUESTS })
    warm = await memory.measure()
    const rest = await runCases(options, { first: first.next, requests: REQUESTS - WARM_UP_REQUESTS })
    t.diagnostic(
      `${client.requests} requests in ${rest.next} cases, the slowest took ${Math.round(client.slowestMs)} ms`,
    )
    const rawPercent = (100 * client.rawRequests) / client.requests
    t.diagnostic(`${rawPercent.toFixed(1)} % as raw bytes; answers by status: ${client.statuses}`)
    assert.equal([...first.failures, ...rest.failures].join('\n\n'), '')
    assert.ok(rawPercent >= MIN_RAW_PERCENT, `only ${rawPercent.toFixed(1)} % of the requests were raw bytes`)
  })

  await t.test('none ends the server, and none leaves anything in its memory', async (t) => {
    assert.equal((await client.registry.get('/v2/')).status, 200)
    // The process that was started answers still: nothing starts another.
    process.kill(pid, 0)
    const end = await memory.measure()
    for (const kind of ['resident', 'referred'] as const) {
      const growth = end[kind] - warm[kind]
      t.diagnostic(
        `${kind}: ${(warm[kind] / MEBIBYTE).toFixed(1)} MiB after warm-up, ${(growth / MEBIBYTE).toFixed(1)} MiB more now`,
      )
      assert.ok(growth < MAX_GROWTH[kind], `${kind} memory grew by ${growth} bytes`)
    }
  })

  await t.test('no body is ever treated as a request', () => {
    assert.ok(registry.output().includes('/v2/fuzz/fixture/tags/list'), 'the log names what was asked for')
    assert.ok(!registry.output().includes(SMUGGLED))
  })

  await t.test('nothing is on the disk but what was acknowledged and what open uploads have', async () => {
    await assertNoTrace(registry.dataDirectory, ledger)
  })

  await t.test('all that was acknowledged is served, byte for byte', async (t) => {
    const { held } = ledger
    t.diagnostic(`${held.length} blobs and manifests`)
    for (let start = 0; start < held.length; start += 16) {
      await Promise.all(
        held.slice(start, start + 16).map(async (content) => {
          assertContent(
            await client.registry.get(`/v2/${content.repository}/${content.kind}/${content.digest}`),
            content,
          )
        }),
      )
    }
  })
})
