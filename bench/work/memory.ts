import { setTimeout as sleep } from 'node:timers/promises'
import { download } from '../client/download.ts'
import { makePayload, MIB } from '../client/payload.ts'
import { peakResidentMebibytesOf, residentMebibytesOf } from '../servers/process-tree.ts'
import { removeLargeFiles } from '../servers/remove-large-files.ts'
import { type Cost, costOf, type Server, whileRunning, withConnection, withConnections } from '../servers/server.ts'
import { uploadMonolithic } from '../client/upload.ts'
import { type Case, type MakeWork, type Reading, sizeText, transferReadings } from './work.ts'

const REPOSITORY = 'bench/memory'
const CLIENTS = 64
const SETTLE_MS = 500

/** Memory of a server that has just been started, and its peak while 64 clients push or pull at once. */
export const makeMemoryWork: MakeWork = ({ quick, rounds }) => {
  const sizeBytes = (quick ? 16 : 100) * MIB
  return {
    name: 'memory',
    includesLimit: false,
    startsServers: true,
    rounds: quick ? 1 : Math.min(rounds, 3),
    skipsWarmUp: true,
    prepare: async () => {},
    cases: [
      idleCase,
      peakCase(`${CLIENTS} pushes of ${sizeText(sizeBytes)} at once`, sizeBytes, measurePushes),
      peakCase(`${CLIENTS} pulls of one blob of ${sizeText(sizeBytes)} at once`, sizeBytes, measurePulls),
    ],
  }
}

const idleCase: Case = {
  label: 'just started',
  async measure(server) {
    return whileRunning(server, {}, async () => {
      await sleep(SETTLE_MS)
      return [{ unit: 'MiB', value: residentMebibytesOf(server.pid) }]
    })
  },
}

/** Each measurement has a process of its own, since memory that was once taken is seldom given back. */
function peakCase(label: string, sizeBytes: number, act: (server: Server, sizeBytes: number) => Promise<Cost>): Case {
  return {
    label,
    async measure(server) {
      const readings = await whileRunning(server, {}, async (): Promise<readonly Reading[]> => {
        const cost = await act(server, sizeBytes)
        const peak: Reading = { unit: 'MiB', value: peakResidentMebibytesOf(server.pid) }
        return [peak, ...transferReadings(CLIENTS * sizeBytes, cost)]
      })
      removeLargeFiles(server.dataFolder)
      return readings
    },
  }
}

async function measurePushes(server: Server, sizeBytes: number): Promise<Cost> {
  return withConnections(server, CLIENTS, (connections) => {
    const uploads = connections.map((connection) => ({ connection, payload: makePayload(sizeBytes) }))
    return costOf(server, () =>
      Promise.all(uploads.map(({ connection, payload }) => uploadMonolithic(connection, REPOSITORY, payload))),
    )
  })
}

async function measurePulls(server: Server, sizeBytes: number): Promise<Cost> {
  const { digest, read } = makePayload(sizeBytes)
  await withConnection(server, (connection) => uploadMonolithic(connection, REPOSITORY, { digest, sizeBytes, read }))
  await server.stop()
  await server.start()
  const expected = { path: `/v2/${REPOSITORY}/blobs/${digest}`, digest, sizeBytes }
  return withConnections(server, CLIENTS, (connections) =>
    costOf(server, () => Promise.all(connections.map((connection) => download(connection, expected)))),
  )
}
