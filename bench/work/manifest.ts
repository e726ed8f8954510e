import { downloadAndVerify, type Expected } from '../client/download.ts'
import { makeImage, MANIFEST_TYPE, pushImage } from '../client/image.ts'
import { repeatRequest, warmUp } from './request-load.ts'
import { type Server, whileRunning, withConnection } from '../servers/server.ts'
import { type Case, count, type MakeWork, type Reading } from './work.ts'

const REPOSITORY = 'bench/manifests'
const TAG = 'stable'
const IMAGE = makeImage(7)
const SCALE_OUT_ROUNDS = 7
const HEADERS = { Accept: MANIFEST_TYPE }

/** A manifest of 1.6 KB, read by tag and by digest, and asked for by HEAD. */
export const makeManifestWork: MakeWork = ({ quick, scaleOut, rounds }) => {
  const connectionCounts = quick ? [16] : [1, 16, 64]
  const cases = [
    ...connectionCounts.map((connections) => manifestCase('GET', 'tag', connections)),
    ...connectionCounts.map((connections) => manifestCase('GET', 'digest', connections)),
    ...connectionCounts.map((connections) => manifestCase('HEAD', 'tag', connections)),
  ]
  const work = { name: 'manifest', includesLimit: false, startsServers: false, prepare, rounds, cases }
  if (!scaleOut) return work
  // Beside itself a server differs by less than five rounds show, and by less than its processes differ.
  return {
    ...work,
    startsServers: true,
    skipsWarmUp: true,
    rounds: quick ? rounds : Math.max(rounds, SCALE_OUT_ROUNDS),
    prepare: async (server) => whileRunning(server, {}, async () => prepare(server)),
    cases: cases.map((item) => ({ ...item, measure: async (server) => measureAfresh(item, server) })),
  }
}

async function prepare(server: Server): Promise<void> {
  await withConnection(server, (connection) => pushImage(connection, REPOSITORY, IMAGE, TAG))
}

/** Measures in a process of its own, which has done the same before. */
async function measureAfresh(item: Case, server: Server): Promise<readonly Reading[]> {
  return whileRunning(server, {}, async () => {
    await warmUp(async () => item.measure(server, 0))
    return item.measure(server, 1)
  })
}

function manifestCase(method: 'GET' | 'HEAD', by: 'tag' | 'digest', connections: number): Case {
  const { digest, bytes } = IMAGE.manifest
  const path = `/v2/${REPOSITORY}/manifests/${by === 'tag' ? TAG : digest}`
  const expected: Expected = { path, headers: HEADERS, digest, sizeBytes: bytes.length }
  return {
    label: `manifest ${method} by ${by}, ${count(connections, 'connection')}`,
    async measure(server) {
      await withConnection(server, (connection) => downloadAndVerify(connection, expected))
      return repeatRequest(server, connections, { method, path, headers: HEADERS, sizeBytes: bytes.length })
    },
  }
}
