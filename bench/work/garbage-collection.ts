import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { download } from '../client/download.ts'
import { makeImage, putManifest } from '../client/image.ts'
import { KIB, makePayload } from '../client/payload.ts'
import { postBytes, uploadMonolithic } from '../client/upload.ts'
import { percentile } from '../report/statistics.ts'
import { type Server, whileRunning, withConnections } from '../servers/server.ts'
import { forEachOver } from './listing.ts'
import type { Case, MakeWork, Reading } from './work.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))
const KEPT = 'bench/kept'
const GARBAGE = 'bench/garbage'
const LAYERS = 499
const BLOB_BYTES = KIB
const PUSHERS = 4
const PULLERS = 4
const PUSHED_BYTES = 64 * KIB
const P99 = 0.99

/** Nothing is collected but by command, and then without waiting for a day. */
const BY_COMMAND = {
  REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_ENABLED: 'false',
  REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_AGE: '0s',
}
const WITHOUT_LIMIT = { ...BY_COMMAND, REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_RATE: '0' }

/** How long pulls and pushes take while garbage is collected, of blobs of which half are garbage. */
export const makeGarbageCollectionWork: MakeWork = ({ quick }) => {
  const blobs = quick ? 10_000 : 100_000
  const seconds = quick ? 5 : 20
  const kept: string[] = []
  const clients = `${PULLERS} clients pull and ${PUSHERS} push beside ${blobs} blobs`
  return {
    name: 'garbage-collection',
    includesLimit: false,
    isOwn: true,
    startsServers: true,
    rounds: 1,
    skipsWarmUp: true,
    async prepare(server) {
      await whileRunning(server, BY_COMMAND, async () => {
        const images = Array.from({ length: blobs / 2 / (LAYERS + 1) }, () => makeImage(LAYERS))
        kept.push(...images.flatMap((image) => image.blobs.slice(1).map(({ digest }) => digest)))
        const layers = images.flatMap((image) => image.blobs)
        await forEachOver(server, layers, async (connection, blob) => postBytes(connection, KEPT, blob))
        await forEachOver(server, images, async (connection, { manifest }) =>
          putManifest(connection, KEPT, manifest, manifest.digest.slice(-8)),
        )
        await forEachOver(server, Array.from({ length: blobs / 2 }), async (connection) => {
          const { digest, read } = makePayload(BLOB_BYTES)
          await postBytes(connection, GARBAGE, { digest, bytes: Buffer.concat([...read(0, BLOB_BYTES)]) })
        })
      })
    },
    cases: [
      loadCase({ label: `${clients}, no collection`, environment: BY_COMMAND, kept, seconds, isCollecting: false }),
      loadCase({ label: `${clients}, collection`, environment: BY_COMMAND, kept, seconds, isCollecting: true }),
      loadCase({
        label: `${clients}, collection without a rate`,
        environment: WITHOUT_LIMIT,
        kept,
        seconds,
        isCollecting: true,
      }),
    ],
  }
}

interface Load {
  readonly label: string
  readonly environment: Readonly<Record<string, string>>
  readonly kept: readonly string[]
  readonly seconds: number
  readonly isCollecting: boolean
}

function loadCase({ label, environment, kept, seconds, isCollecting }: Load): Case {
  return {
    label,
    async measure(server) {
      const ending = new AbortController()
      const readings = await whileRunning(server, environment, async () => {
        const timer = setTimeout(() => ending.abort(), seconds * 1_000)
        const collecting = isCollecting ? collect(server).then(() => ending.abort()) : undefined
        const [pullsMs, pushesMs] = await Promise.all([
          timesOf(server, { clients: PULLERS, signal: ending.signal }, async (connection) => {
            const digest = kept[Math.floor(Math.random() * kept.length)] ?? ''
            await download(connection, { path: `/v2/${KEPT}/blobs/${digest}`, digest, sizeBytes: BLOB_BYTES })
          }),
          timesOf(server, { clients: PUSHERS, signal: ending.signal }, async (connection) =>
            uploadMonolithic(connection, KEPT, makePayload(PUSHED_BYTES)),
          ),
        ])
        clearTimeout(timer)
        // What is not collected in that time is left for the next case.
        await server.stop()
        await collecting
        return [
          { unit: 'ms p99 pull', value: percentile(pullsMs, P99) },
          { unit: 'ms p99 push', value: percentile(pushesMs, P99) },
        ] satisfies Reading[]
      })
      return isCollecting ? [...readings, { unit: 'removals/s', value: await removalsPerSecond(server) }] : readings
    },
  }
}

async function timesOf(
  server: Server,
  { clients, signal }: { clients: number; signal: AbortSignal },
  action: Parameters<typeof forEachOver>[2],
): Promise<number[]> {
  const timesMs: number[] = []
  await withConnections(server, clients, async (connections) =>
    Promise.all(
      connections.map(async (connection) => {
        while (!signal.aborted) {
          const startedAt = performance.now()
          await action(connection, undefined)
          timesMs.push(performance.now() - startedAt)
        }
      }),
    ),
  )
  return timesMs
}

/** Collects until there is no garbage, or until the server ends. */
async function collect(server: Server): Promise<void> {
  await entrepotGc(server, '--now').catch((error: unknown) => {
    if (!String(error).includes('ended with the server')) throw error
  })
}

/** Blobs taken from repositories, and contents removed, by the last run. */
async function removalsPerSecond(server: Server): Promise<number> {
  const state: unknown = JSON.parse(await entrepotGc(server))
  const runs: unknown = typeof state === 'object' && state !== null ? Reflect.get(state, 'runs') : undefined
  const [last]: unknown[] = Array.isArray(runs) ? runs : []
  if (typeof last !== 'object' || last === null) throw new Error('the run is not in the history')
  const numberOf = (name: string) => Number(Reflect.get(last, name))
  return ((numberOf('unlinkedBlobs') + numberOf('removedContents')) * 1_000) / numberOf('durationMs')
}

async function entrepotGc(server: Server, ...options: string[]): Promise<string> {
  const config = join(server.dataFolder, '..', 'config.yml')
  return (await promisify(execFile)(LAUNCHER, ['gc', '--json', ...options, config])).stdout
}
