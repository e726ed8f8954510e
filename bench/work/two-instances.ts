import { makeImage, MANIFEST_TYPE, pushImage } from '../client/image.ts'
import { type Server, whileRunning, withConnection } from '../servers/server.ts'
import { repeatRequest, warmUp } from './request-load.ts'
import type { MakeWork } from './work.ts'

const REPOSITORY = 'bench/instances'
const IMAGE = makeImage(7)
const CONNECTIONS = 32

/** The same load to one instance, and then to two that share a database and a bucket. */
export const makeTwoInstancesWork: MakeWork = () => ({
  name: 'two-instances',
  includesLimit: false,
  isOwn: true,
  startsServers: false,
  prepare: async (server) => withConnection(server, (connection) => pushImage(connection, REPOSITORY, IMAGE, 'stable')),
  cases: [
    {
      label: `manifest GET by digest, two instances beside one, ${CONNECTIONS} connections to each`,
      async measure(server) {
        const other = await server.createInstance()
        return whileRunning(other, {}, async () => {
          await warmUp(async () => loadOf([server, other]))
          const one = await loadOf([server])
          const two = await loadOf([server, other])
          return [
            { unit: 'times as many', value: two.requestsPerSecond / one.requestsPerSecond },
            // Two processes have twice the processor time where there are processors for both and for the load.
            { unit: 'times as many by cpu time', value: (2 * one.cpuPerRequest) / two.cpuPerRequest },
          ]
        })
      },
    },
  ],
})

async function loadOf(servers: readonly Server[]): Promise<{ requestsPerSecond: number; cpuPerRequest: number }> {
  const { digest, bytes } = IMAGE.manifest
  const request = {
    method: 'GET',
    path: `/v2/${REPOSITORY}/manifests/${digest}`,
    headers: { Accept: MANIFEST_TYPE },
    sizeBytes: bytes.length,
  } as const
  const loads = await Promise.all(servers.map(async (server) => repeatRequest(server, CONNECTIONS, request)))
  let requestsPerSecond = 0
  let cpuPerSecond = 0
  for (const readings of loads) {
    const rate = readings.find(({ unit }) => unit === 'req/s')?.value ?? 0
    requestsPerSecond += rate
    cpuPerSecond += rate * (readings.find(({ unit }) => unit === 'cpu µs/request')?.value ?? 0)
  }
  return { requestsPerSecond, cpuPerRequest: cpuPerSecond / requestsPerSecond }
}
