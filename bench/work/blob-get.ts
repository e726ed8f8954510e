import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { download, downloadAndVerify, type Expected } from '../client/download.ts'
import type { HttpConnection } from '../client/http-connection.ts'
import { GIB, KIB, makePayload, MIB, type Payload } from '../client/payload.ts'
import { repeatRequest } from './request-load.ts'
import { costOf, type Server, withConnection, withConnections } from '../servers/server.ts'
import { uploadMonolithic } from '../client/upload.ts'
import { type Case, count, type MakeWork, sizeText, transferReadings, type Work } from './work.ts'

const REPOSITORY = 'bench/blobs'
const CLIENTS = [1, 8]
const SIZES = [64 * KIB, 4 * MIB, 256 * MIB, GIB]
const QUICK_SIZES = [64 * KIB, 256 * MIB]
/** Up to this size the rate of requests is measured, above it the rate of bytes. */
const SMALL_BYTES = 64 * KIB
const MEASURE_MS = 800

/** Blobs of several sizes, read again and again from the page cache. nginx serves the same bytes at the same paths. */
export const makeBlobGetWork: MakeWork = ({ quick }) => blobGetWork(quick ? QUICK_SIZES : SIZES, false)

/** The same over TLS, where each server encrypts in its own way. */
export const makeSecureBlobGetWork: MakeWork = ({ quick }) => blobGetWork([(quick ? 64 : 256) * MIB], true)

function blobGetWork(sizes: readonly number[], isSecure: boolean): Work {
  const payloads = sizes.map(makePayload)
  return {
    name: isSecure ? 'blob-get-tls' : 'blob-get',
    includesLimit: true,
    startsServers: false,
    isSecure,
    async prepare(server) {
      for (const payload of payloads) await (server.kind.isRegistry ? push : writeFileFor)(server, payload)
    },
    cases: payloads.flatMap((payload) => CLIENTS.map((clients) => blobCase(payload, clients, isSecure))),
  }
}

function blobCase(payload: Payload, clients: number, isSecure: boolean): Case {
  const { digest, sizeBytes } = payload
  const expected: Expected = { path: pathOf(payload), digest, sizeBytes }
  return {
    label: `blob GET ${sizeText(sizeBytes)}${isSecure ? ' over TLS' : ''}, ${count(clients, 'client')}`,
    async measure(server, round) {
      if (round === 0) await withConnection(server, (connection) => downloadAndVerify(connection, expected))
      if (sizeBytes <= SMALL_BYTES) {
        return repeatRequest(server, clients, { method: 'GET', path: expected.path, headers: {}, sizeBytes })
      }
      return measureDownloads(server, clients, expected)
    },
  }
}

async function measureDownloads(server: Server, clients: number, expected: Expected) {
  return withConnections(server, clients, async (connections) => {
    let downloads = 0
    const cost = await costOf(server, async () => {
      const endsAt = performance.now() + MEASURE_MS
      const counts = await Promise.all(connections.map((connection) => downloadUntil(endsAt, connection, expected)))
      downloads = counts.reduce((sum, each) => sum + each, 0)
    })
    return transferReadings(downloads * expected.sizeBytes, cost)
  })
}

async function downloadUntil(endsAt: number, connection: HttpConnection, expected: Expected): Promise<number> {
  let downloads = 0
  do {
    await download(connection, expected)
    downloads++
  } while (performance.now() < endsAt)
  return downloads
}

async function push(server: Server, payload: Payload): Promise<void> {
  await withConnection(server, (connection) => uploadMonolithic(connection, REPOSITORY, payload))
}

async function writeFileFor(server: Server, payload: Payload): Promise<void> {
  const file = join(server.dataFolder, pathOf(payload))
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(file, payload.read(0, payload.sizeBytes))
}

function pathOf({ digest }: Payload): string {
  return `/v2/${REPOSITORY}/blobs/${digest}`
}
