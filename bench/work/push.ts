import { downloadAndVerify } from '../client/download.ts'
import { GIB, makePayload, MIB } from '../client/payload.ts'
import { removeLargeFiles } from '../servers/remove-large-files.ts'
import { costOf, withConnection, withConnections } from '../servers/server.ts'
import { type Upload, uploadInChunks, uploadMonolithic, uploadStreamed } from '../client/upload.ts'
import { type Case, count, type MakeWork, sizeText, transferReadings } from './work.ts'

const REPOSITORY = 'bench/pushed'

interface Load {
  readonly clients: number
  readonly sizeBytes: number
}

const LOADS: readonly Load[] = [
  { clients: 1, sizeBytes: 256 * MIB },
  { clients: 4, sizeBytes: 64 * MIB },
  { clients: 16, sizeBytes: 32 * MIB },
]
const QUICK_LOADS: readonly Load[] = [{ clients: 4, sizeBytes: 64 * MIB }]

/** POST and one PUT. */
export const makeMonolithicPushWork: MakeWork = ({ quick }) =>
  pushWork('push-monolithic', uploadMonolithic, quick ? QUICK_LOADS : [...LOADS, { clients: 1, sizeBytes: GIB }])

/** POST, PATCHes of 16 MiB, PUT. */
export const makeChunkedPushWork: MakeWork = ({ quick }) =>
  pushWork('push-chunked', uploadInChunks, quick ? QUICK_LOADS : LOADS)

/** POST, one PATCH in chunked transfer coding, PUT. */
export const makeStreamedPushWork: MakeWork = ({ quick }) =>
  pushWork('push-streamed', uploadStreamed, quick ? QUICK_LOADS : LOADS)

function pushWork(name: string, upload: Upload, loads: readonly Load[]) {
  return {
    name,
    includesLimit: false,
    startsServers: false,
    prepare: async () => {},
    cases: loads.map((load) => pushCase(name.replace('-', ' '), upload, load)),
  }
}

function pushCase(name: string, upload: Upload, { clients, sizeBytes }: Load): Case {
  return {
    label: `${name} ${sizeText(sizeBytes)}, ${count(clients, 'client')}`,
    async measure(server, round) {
      const sample = makePayload(sizeBytes)
      const cost = await withConnections(server, clients, async (connections) => {
        const uploads = connections.map((connection, client) => ({
          connection,
          payload: client === 0 ? sample : makePayload(sizeBytes),
        }))
        return costOf(server, () =>
          Promise.all(uploads.map(({ connection, payload }) => upload(connection, REPOSITORY, payload))),
        )
      })
      if (round === 0) {
        const path = `/v2/${REPOSITORY}/blobs/${sample.digest}`
        await withConnection(server, (connection) => downloadAndVerify(connection, { path, ...sample }))
      }
      removeLargeFiles(server.dataFolder)
      return transferReadings(clients * sizeBytes, cost)
    },
  }
}
