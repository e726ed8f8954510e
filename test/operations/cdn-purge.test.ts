import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { uniqueName } from '../content.ts'
import { startRegistry, type TestRegistry, until } from '../harness.ts'
import { record, RegistryClient } from '../registry-client.ts'
import { startInstances } from '../faults/instances.ts'
import { isPostgresPresent } from '../postgres-cluster.ts'
import { type Cloudflare, failing, silent, startCloudflare, succeed } from './cloudflare.ts'
import { collectGarbage, folderOf, manage, runJson } from './management-request.ts'
import { entrepot } from './command.ts'

const CDN = 'https://cdn.example.com'
const WAIT_MS = 15_000

async function start(t: TestContext, cloudflare: Cloudflare, config = {}): Promise<TestRegistry> {
  return startRegistry(t, {
    config: { cdn: { baseurl: CDN, purge: cloudflare.purge }, jobs: { lease: '2s' }, ...config },
  })
}

/** The jobs of a kind, the newest first. */
async function listJobs(registry: TestRegistry, query = 'kind=cdn-purge'): Promise<Record<string, unknown>[]> {
  const { status, body } = await manage(registry, 'GET', `jobs?${query}`)
  assert.equal(status, 200, JSON.stringify(body))
  assert.ok(Array.isArray(body['jobs']))
  return body['jobs'].map(record)
}

/** Until Cloudflare was asked so often, and the job that asks it runs. */
async function untilAsked(cloudflare: Cloudflare, times: number): Promise<void> {
  await until(
    () => cloudflare.purges.length === times,
    WAIT_MS,
    () => `it was asked ${cloudflare.purges.length} times`,
  )
}

async function untilJob(registry: TestRegistry, state: string): Promise<Record<string, unknown>> {
  let last: Record<string, unknown> | undefined
  await until(
    async () => {
      ;[last] = await listJobs(registry)
      return last?.['state'] === state
    },
    WAIT_MS,
    () => `no job is ${state}: ${JSON.stringify(last)}\n${registry.output()}`,
  )
  return last ?? {}
}

suite('a CDN that is told of deletions', { concurrency: 3 }, () => {
  test('what is deleted is forgotten by Cloudflare: manifests with their tags, tags, and blobs', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    const { descriptor } = await client.pushImage(name, { reference: 'v1' })
    const other = await client.pushImage(name, { reference: 'v2' })
    const blob = await client.pushBlob(name)
    for (const path of [`manifests/${descriptor.digest}`, 'manifests/v2', `blobs/${blob.digest}`]) {
      assert.equal((await client.delete(`/v2/${name}/${path}`)).status, 202)
    }
    await untilAsked(cloudflare, 3)
    assert.deepEqual(
      cloudflare.purges.flatMap(({ files }) => files).toSorted(),
      [
        `/v2/${name}/manifests/${descriptor.digest}`,
        `/v2/${name}/manifests/v1`,
        `/v2/${name}/manifests/v2`,
        `/v2/${name}/blobs/${blob.digest}`,
        `/cdn/v2/${name}/blobs/${blob.digest}`,
      ]
        .map((path) => CDN + path)
        .toSorted(),
    )
    assert.deepEqual(
      new Set(cloudflare.purges.map(({ path }) => path)),
      new Set(['/client/v4/zones/zone1/purge_cache']),
    )
    assert.deepEqual(new Set(cloudflare.purges.map(({ authorization }) => authorization)), new Set(['Bearer t0ken']))
    assert.equal((await client.get(`/v2/${name}/manifests/${other.descriptor.digest}`)).status, 200)
    let metrics = ''
    await until(
      async () => {
        metrics = await (await fetch(`${registry.url}/metrics`)).text()
        return /^entrepot_jobs_attempts_total\{kind="cdn-purge",outcome="done"\} 3$/m.test(metrics)
      },
      WAIT_MS,
      () => metrics,
    )
    assert.match(metrics, /^entrepot_jobs\{state="failed"\} 0$/m)
    assert.doesNotMatch(registry.output() + JSON.stringify(await listJobs(registry)), /t0ken/, 'a secret is told')
  })

  test('a deletion that is refused tells nobody, and without a CDN to tell there are no jobs', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const plain = await startRegistry(t)
    for (const { url } of [registry, plain]) {
      const client = new RegistryClient(url)
      const name = uniqueName()
      await client.pushImage(name, { reference: 'v1' })
      assert.equal((await client.delete(`/v2/${name}/manifests/v2`)).status, 404)
    }
    const client = new RegistryClient(plain.url)
    await client.pushImage('library/a', { reference: 'v1' })
    assert.equal((await client.delete('/v2/library/a/manifests/v1')).status, 202)
    assert.deepEqual(await listJobs(registry), [])
    assert.deepEqual(await listJobs(plain), [])
  })

  test('more URLs than Cloudflare takes at once are sent in parts', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    const { bytes, descriptor } = await client.pushImage(name)
    const tags = Array.from({ length: 70 }, (_, number) => `t${number}`)
    const query = new URLSearchParams(tags.map((tag) => ['tag', tag]))
    const pushed = await client.putManifest(
      name,
      `${descriptor.digest}?${query.toString()}`,
      bytes,
      descriptor.mediaType,
    )
    assert.equal(pushed.status, 201)
    await client.delete(`/v2/${name}/manifests/${descriptor.digest}`)
    const { progress } = await untilJob(registry, 'done')
    assert.equal(progress, '71 of 71 URLs')
    assert.deepEqual(
      cloudflare.purges.map(({ files }) => files.length),
      [30, 30, 11],
    )
  })

  test('Cloudflare is asked again after an error, no sooner than it says, and the log of the job tells why', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    await client.pushImage(name, { reference: 'v1' })
    cloudflare.answerNext(failing(500, 'internal'), failing(429, 'slow down', { 'retry-after': '4' }), (reply) =>
      reply.end('{"success":false}'),
    )
    await client.delete(`/v2/${name}/manifests/v1`)
    const { id, attempts } = await untilJob(registry, 'done')
    assert.equal(attempts, 4)
    const [, second, third] = cloudflare.purges.map(({ receivedAt }) => receivedAt)
    assert.ok((third ?? 0) - (second ?? 0) >= 4_000, 'Retry-After was not heeded')
    const { body } = await manage(registry, 'GET', `jobs/${String(id)}/lines`)
    assert.ok(Array.isArray(body['lines']))
    const lines = body['lines'].map((line: unknown) => String(record(line)['text']))
    assert.match(lines[0] ?? '', /^attempt 1: Cloudflare answered 500: .*internal/)
    assert.match(lines[1] ?? '', /^attempt 2: Cloudflare answered 429: .*slow down/)
    assert.match(lines[2] ?? '', /^attempt 3: Cloudflare answered 200/)
    assert.deepEqual(lines.slice(3), ['Cloudflare has forgotten 1 URLs', 'attempt 4 is done'])
  })

  test('a wrong token fails the job at once, others go on, and it is tried again by command', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    await client.pushImage(name, { reference: 'v1' })
    await client.pushImage(name, { reference: 'v2' })
    cloudflare.answerNext(failing(403, 'Invalid API token'))
    await client.delete(`/v2/${name}/manifests/v1`)
    const failed = await untilJob(registry, 'failed')
    assert.match(String(failed['error']), /403.*Invalid API token/)
    await client.delete(`/v2/${name}/manifests/v2`)
    await untilJob(registry, 'done')
    const id = String(failed['id'])
    const shown = await runJson(registry, ['job', 'show', id])
    assert.equal(shown['state'], 'failed')
    assert.deepEqual(shown['payload'], { urls: [`${CDN}/v2/${name}/manifests/v1`] })
    assert.equal((await runJson(registry, ['job', 'retry', id]))['state'], 'queued')
    await until(
      async () => (await listJobs(registry, 'state=done&kind=cdn-purge')).length === 2,
      WAIT_MS,
      () => registry.output(),
    )
    const again = await entrepot(['job', 'retry', id], { env: folderOf(registry) })
    assert.equal(again.code, 1)
    assert.match(again.stderr, /is done; only one that failed or was cancelled/)
    const { stdout } = await entrepot(['job', 'logs', id], { env: folderOf(registry) })
    assert.match(stdout, /403.*\n.*somebody has it tried again\n.*\n.*attempt 1 is done\n$/)
  })

  test('a job that waits for an answer is cancelled by command, and one that is given back at shutdown goes on', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    for (const tag of ['v1', 'v2']) await client.pushImage(name, { reference: tag })
    cloudflare.answerNext(silent)
    await client.delete(`/v2/${name}/manifests/v1`)
    await untilAsked(cloudflare, 1)
    const { id } = await untilJob(registry, 'running')
    assert.equal((await entrepot(['job', 'cancel', String(id)], { env: folderOf(registry) })).code, 0)
    await untilJob(registry, 'cancelled')
    cloudflare.answerNext(silent)
    await client.delete(`/v2/${name}/manifests/v2`)
    await untilAsked(cloudflare, 2)
    const given = await untilJob(registry, 'running')
    assert.equal(await registry.stop(), 0)
    const file = join(dirname(registry.dataDirectory), 'config.yml')
    const offline = await runJson(registry, ['job', 'show', String(given['id']), file])
    assert.deepEqual([offline['state'], offline['attempts']], ['queued', 0])
    await registry.start()
    assert.equal((await untilJob(registry, 'done'))['id'], given['id'])
  })

  test('a job whose server is killed is done after the next start, once its lease has ended', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    await client.pushImage(name, { reference: 'v1' })
    cloudflare.answerNext(silent)
    await client.delete(`/v2/${name}/manifests/v1`)
    await untilAsked(cloudflare, 1)
    await registry.kill()
    await registry.start()
    const { attempts, id } = await untilJob(registry, 'done')
    assert.equal(attempts, 2)
    assert.equal(cloudflare.purges.length, 2)
    const { stdout } = await entrepot(['job', 'logs', String(id)], { env: folderOf(registry) })
    assert.match(stdout, /attempt 1 was lost: its process ended/)
  })

  test('of two instances one is killed in the middle of a job, and the other one does it, after its own', async (t) => {
    if (!(await isPostgresPresent(t))) return
    const cloudflare = await startCloudflare(t)
    const { runSql, registries, clients } = await startInstances(t, 2, {
      storage: { delete: { enabled: true } },
      cdn: { baseurl: CDN, purge: cloudflare.purge },
      jobs: { lease: '4s', concurrency: 1 },
    })
    const held: ServerResponse[] = []
    const hold = (reply: ServerResponse) => void held.push(reply)
    cloudflare.answerNext(hold, hold)
    const name = uniqueName()
    for (const tag of ['v1', 'v2']) {
      await clients[0]?.pushImage(name, { reference: tag })
      assert.equal((await clients[1]?.delete(`/v2/${name}/manifests/${tag}`))?.status, 202)
    }
    await untilAsked(cloudflare, 2)
    await registries[0]?.kill()
    for (const reply of held) succeed(reply)
    const states = async () =>
      runSql("select state || ' ' || attempts from jobs where kind = 'cdn-purge' order by attempts")
    await until(
      async () => (await states()) === 'done 1\ndone 2',
      2 * WAIT_MS,
      () => registries.map((registry) => registry.output()).join('\n'),
    )
    const asked = cloudflare.purges.map(({ files }) => files.join())
    assert.equal(asked.length, 3)
    assert.equal(new Set(asked).size, 2)
  })

  test('what the rule for manifests without a tag deletes is forgotten, too', async (t) => {
    const cloudflare = await startCloudflare(t)
    const maintenance = { garbagecollection: { interval: '1h' }, untagged: { enabled: true, age: '0s' } }
    const registry = await start(t, cloudflare, { storage: { maintenance } })
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    const { descriptor } = await client.pushImage(name)
    await collectGarbage(registry)
    await collectGarbage(registry)
    await untilAsked(cloudflare, 1)
    assert.deepEqual(cloudflare.purges[0]?.files, [`${CDN}/v2/${name}/manifests/${descriptor.digest}`])
  })

  test('jobs are listed by state and kind, page by page, and wrong questions are refused', async (t) => {
    const cloudflare = await startCloudflare(t)
    const registry = await start(t, cloudflare)
    const client = new RegistryClient(registry.url)
    const name = uniqueName()
    for (let number = 0; number < 5; number++) {
      await client.pushImage(name, { reference: `t${number}` })
      await client.delete(`/v2/${name}/manifests/t${number}`)
    }
    await until(
      async () => (await listJobs(registry, 'state=done&kind=cdn-purge')).length === 5,
      WAIT_MS,
      () => registry.output(),
    )
    const all = await listJobs(registry)
    const { body } = await manage(registry, 'GET', 'jobs?kind=cdn-purge&limit=2')
    assert.deepEqual(body['jobs'], all.slice(0, 2))
    const next = await listJobs(registry, `kind=cdn-purge&limit=2&before=${String(body['next'])}`)
    assert.deepEqual(next, all.slice(2, 4))
    const { jobs } = await runJson(registry, ['job', 'list', '--kind', 'cdn-purge', '--state', 'done', '--limit', '4'])
    assert.deepEqual(jobs, all.slice(0, 4))
    assert.match((await entrepot(['job', 'list'], { env: folderOf(registry) })).stdout, /done {7}cdn-purge/)
    for (const [method, path, status] of [
      ['GET', 'jobs?state=lost', 400],
      ['GET', 'jobs?limit=0', 400],
      ['GET', 'jobs/4711', 404],
      ['GET', 'jobs/one', 400],
      ['GET', 'jobs/4711/lines', 404],
      ['POST', 'jobs/4711/cancellation', 404],
      ['POST', `jobs/${String(all[0]?.['id'])}/cancellation`, 409],
      ['POST', 'jobs/4711/retry', 404],
    ] as const) {
      assert.equal((await manage(registry, method, path)).status, status, path)
    }
  })
})
