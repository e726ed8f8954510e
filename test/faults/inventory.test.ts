import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf, imageDocument, mediaTypes, randomBlob, uniqueName } from '../content.ts'
import { startRegistry } from '../harness.ts'
import { isMinioPresent, startMinio } from '../minio-server.ts'
import { isPostgresPresent, startPostgres } from '../postgres-cluster.ts'
import { Random } from '../random.ts'
import { startS3Proxy } from '../s3-proxy.ts'
import { faultSeed } from './fault-seed.ts'
import { runFsck } from './fsck.ts'
import { byTier } from './tier.ts'

test(
  'however instances move and delete the same tags at once, the inventory ends as the database',
  { timeout: 900_000 },
  async (t) => {
    if (!isMinioPresent(t) || !(await isPostgresPresent(t))) return
    const [minio, cluster] = [await startMinio(), await startPostgres()]
    t.after(async () => Promise.all([minio.remove(), cluster.remove()]))
    const [proxy, rootdirectory] = [await startS3Proxy(t, minio.port), randomUUID()]
    const configOf = (regionendpoint: string) => ({
      storage: { s3: { ...minio.storage, regionendpoint, rootdirectory }, redirect: { disable: true } },
      database: { url: cluster.url('postgres') },
    })
    const instances = [
      await startRegistry(t, { config: configOf(minio.storage.regionendpoint) }),
      await startRegistry(t, { config: configOf(proxy.url) }),
    ]
    const name = uniqueName('faults')
    const seed = faultSeed(t)
    const request = async (instance: number, method: string, path: string, body?: Buffer) => {
      const url = `${instances[instance]?.url}/v2/${name}/${path}`
      const headers = { 'content-type': method === 'PUT' ? mediaTypes.image : mediaTypes.octetStream }
      const answer = await fetch(url, { method, headers, ...(body !== undefined && { body: new Uint8Array(body) }) })
      await answer.arrayBuffer()
      return answer
    }
    const blob = randomBlob(100)
    await request(0, 'POST', `blobs/uploads/?digest=${digestOf(blob)}`, blob)
    const layer = { mediaType: mediaTypes.octetStream, digest: digestOf(blob), size: blob.length }
    const images = Array.from({ length: 4 }, (_, index) =>
      imageDocument(
        layer,
        Array.from({ length: index }, () => layer),
      ),
    )
    const random = new Random(`${seed}`)
    // What is tried again comes late: after entries of others that were committed after it.
    const tried = new Set<string>()
    proxy.plan = ({ operation, url }) => {
      if (operation !== 'put' || !url.includes('/_tags/') || tried.has(url)) return undefined
      tried.add(url)
      return 'unheard'
    }
    // Each tag sees one race, so that whatever loses it stays to be seen.
    for (let round = 0; round < byTier({ quick: 40, ci: 150, release: 5_000 }); round++) {
      const path = `manifests/t${round}`
      const [one, other] = [random.pick(images), random.pick(images)]
      const late = async () => {
        await sleep(random.below(60))
        if (random.below(2) === 0) return request(0, 'PUT', path, other)
        return request(0, 'DELETE', random.below(3) === 0 ? `manifests/${digestOf(one)}` : path)
      }
      await Promise.all([request(1, 'PUT', path, one), late()])
    }
    await Promise.all(instances.map(async (registry) => registry.stop()))
    const [registry] = instances
    const target = { config: join(dirname(registry?.dataDirectory ?? ''), 'config.yml') }
    const { findings } = await runFsck(t, target)
    assert.deepEqual(
      findings.filter(({ kind, severity }) => severity === 'error' || kind === 'inventory-wrong'),
      [],
    )
  },
)
