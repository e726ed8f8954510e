import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { digestOf, mediaTypes, randomBlob } from '../content.ts'
import { startRegistry, until } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'

/** What CNCF distribution 2.8 exposes of HTTP: names, types and labels. */
const NAMES_OF_DISTRIBUTION = [
  ['registry_http_in_flight_requests', 'gauge', ['handler']],
  ['registry_http_requests_total', 'counter', ['code', 'handler', 'method']],
  ['registry_http_request_duration_seconds', 'histogram', ['handler', 'method']],
  ['registry_http_request_size_bytes', 'histogram', ['handler']],
  ['registry_http_response_size_bytes', 'histogram', ['handler']],
  ['process_cpu_seconds_total', 'counter', []],
  ['process_resident_memory_bytes', 'gauge', []],
  ['process_open_fds', 'gauge', []],
  ['process_max_fds', 'gauge', []],
  ['process_start_time_seconds', 'gauge', []],
] as const

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads the text format of Prometheus; asserts that every line is of it. */
async function scrape(url: string): Promise<{ types: Map<string, string>; samples: Sample[] }> {
  const answer = await fetch(`${url}/metrics`)
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const types = new Map<string, string>()
  const samples: Sample[] = []
  for (const line of (await answer.text()).split('\n')) {
    const type = /^# TYPE (\w+) (\w+)$/.exec(line)
    if (type !== null) types.set(type[1] ?? '', type[2] ?? '')
    if (line === '' || line.startsWith('#')) continue
    const sample = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
    assert.ok(sample !== null, line)
    const [, name = '', labels = '', value = ''] = sample
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [key, text])
    samples.push({ name, labels: Object.fromEntries(pairs), value: Number(value) })
  }
  return { types, samples }
}

/** The value under one name and exactly these labels; 0 where there is none yet. */
function valueOf(samples: readonly Sample[], name: string, labels: Record<string, string>): number {
  const found = samples.find((sample) => sample.name === name && isDeepStrictEqual(sample.labels, labels))
  return found?.value ?? 0
}

test('metrics', { concurrency: 2 }, async (t) => {
  void t.test('have the names, types, labels and buckets that dashboards for CNCF distribution use', async (t) => {
    const registry = await startRegistry(t)
    await new RegistryClient(registry.url).pushImage('library/app', { reference: 'one' })
    const { types, samples } = await scrape(registry.url)
    for (const [name, type, labels] of NAMES_OF_DISTRIBUTION) {
      assert.equal(types.get(name), type, name)
      const own = type === 'histogram' ? `${name}_count` : name
      const sample = samples.find((candidate) => candidate.name === own)
      assert.deepEqual(Object.keys(sample?.labels ?? {}).toSorted(), labels, name)
    }
    const bounds = (name: string) => [
      ...new Set(samples.filter((sample) => sample.name === `${name}_bucket`).map(({ labels }) => labels['le'])),
    ]
    assert.equal(
      bounds('registry_http_request_duration_seconds').join(),
      '0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10,25,60,+Inf',
    )
    const sizes = Array.from({ length: 22 }, (_, index) => String(1024 * 2 ** index))
    assert.deepEqual(bounds('registry_http_response_size_bytes'), [...sizes, '+Inf'])
    const build = samples.find(({ name }) => name === 'entrepot_build_info')
    assert.match(build?.labels['version'] ?? '', /^\d+\.\d+\.\d+/)
  })

  void t.test(
    'count each request once, under its handler, method and status, with the bytes of its answer',
    async (t) => {
      const registry = await startRegistry(t)
      const client = new RegistryClient(registry.url)
      const bytes = randomBlob(5_000)
      const digest = digestOf(bytes)
      await client.get('/v2/')
      await client.get('/v2/')
      await client.pushBlob('library/app', bytes)
      await client.pushBlob('library/app', bytes)
      const chunk = await client.patchChunk(await client.startUpload('library/app'), bytes)
      await client.delete(client.location(chunk))
      for (let i = 0; i < 3; i++) await client.get(`/v2/library/app/blobs/${digest}`)
      await client.head(`/v2/library/app/blobs/${digest}`)
      await client.get(`/v2/library/app/blobs/${digest}`, { Range: 'bytes=0-9' })
      await client.get('/v2/library/app/manifests/none')
      await client.putManifest('library/app', 'one', '{}', mediaTypes.image)
      await client.get('/v2/library/app/tags/list')
      await client.get('/v2/_catalog')
      await client.get('/nothing')
      await client.request('PROPFIND', '/nothing')

      const expected: [handler: string, method: string, code: string, count: number][] = [
        ['base', 'get', '200', 2],
        ['blob_upload', 'post', '202', 3],
        ['blob_upload_chunk', 'put', '201', 2],
        ['blob_upload_chunk', 'patch', '202', 1],
        ['blob_upload_chunk', 'delete', '204', 1],
        ['blob', 'get', '200', 3],
        ['blob', 'get', '206', 1],
        ['blob', 'head', '200', 1],
        ['manifest', 'get', '404', 1],
        ['manifest', 'put', '400', 1],
        ['tags', 'get', '200', 1],
        ['catalog', 'get', '200', 1],
        ['none', 'get', '404', 1],
        ['none', 'unknown', '404', 1],
      ]
      // A request is counted when its answer has gone out, which may be a moment after the client has it.
      let { samples } = await scrape(registry.url)
      await until(
        async () => {
          ;({ samples } = await scrape(registry.url))
          return (
            valueOf(samples, 'registry_http_requests_total', { handler: 'none', method: 'unknown', code: '404' }) > 0
          )
        },
        5_000,
        () => 'the last request is not counted',
      )
      const counted = samples
        .filter(({ name, labels }) => name === 'registry_http_requests_total' && !isOfOperators(labels['handler']))
        .map(({ labels, value }) => [labels['handler'], labels['method'], labels['code'], value].join(' '))
      assert.deepEqual(counted.toSorted(), expected.map((row) => row.join(' ')).toSorted())

      for (const handler of new Set(expected.map(([handler]) => handler))) {
        const requests = expected.filter((row) => row[0] === handler)
        const total = requests.reduce((sum, row) => sum + row[3], 0)
        assert.equal(valueOf(samples, 'registry_http_in_flight_requests', { handler }), 0)
        assert.equal(valueOf(samples, 'registry_http_response_size_bytes_count', { handler }), total, handler)
        assert.equal(valueOf(samples, 'registry_http_request_size_bytes_count', { handler }), total, handler)
        for (const method of new Set(requests.map((row) => row[1]))) {
          const ofMethod = requests.filter((row) => row[1] === method).reduce((sum, row) => sum + row[3], 0)
          const name = 'registry_http_request_duration_seconds'
          assert.equal(valueOf(samples, `${name}_count`, { handler, method }), ofMethod)
          assert.equal(valueOf(samples, `${name}_bucket`, { handler, method, le: '+Inf' }), ofMethod)
          const seconds = valueOf(samples, `${name}_sum`, { handler, method })
          assert.ok(seconds > 0 && seconds < 30, `${seconds} s`)
        }
      }
      assert.equal(valueOf(samples, 'registry_http_response_size_bytes_sum', { handler: 'blob' }), 3 * 5_000 + 10)
      assert.equal(valueOf(samples, 'registry_http_request_size_bytes_sum', { handler: 'blob_upload_chunk' }), 15_000)
      assert.equal(valueOf(samples, 'registry_http_response_size_bytes_sum', { handler: 'base' }), 4)
    },
  )

  void t.test('show a request while it is under way, and count one that is broken off as 499', async (t) => {
    const registry = await startRegistry(t)
    const client = new RegistryClient(registry.url)
    const going = new AbortController()
    const body = new ReadableStream({ start: (controller) => controller.enqueue(randomBlob()) })
    const location = await client.startUpload('library/app')
    const upload = fetch(location, { method: 'PATCH', body, duplex: 'half', signal: going.signal })
    const labels = { handler: 'blob_upload_chunk' }
    const untilInFlight = async (count: number) =>
      until(
        async () => valueOf((await scrape(registry.url)).samples, 'registry_http_in_flight_requests', labels) === count,
        5_000,
        () => `there are not ${count} requests in flight`,
      )
    await untilInFlight(1)
    going.abort()
    await assert.rejects(upload)
    await untilInFlight(0)
    const { samples } = await scrape(registry.url)
    const total = { ...labels, method: 'patch', code: '499' }
    assert.equal(valueOf(samples, 'registry_http_requests_total', total), 1)
  })
})

function isOfOperators(handler: string | undefined): boolean {
  return handler === 'readyz' || handler === 'healthz' || handler === 'metrics'
}
