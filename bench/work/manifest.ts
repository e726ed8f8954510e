import { downloadAndVerify, type Expected } from '../client/download.ts'
import { makeImage, MANIFEST_TYPE, pushImage } from '../client/image.ts'
import { repeatRequest } from './request-load.ts'
import { withConnection } from '../servers/server.ts'
import { type Case, count, type MakeWork } from './work.ts'

const REPOSITORY = 'bench/manifests'
const TAG = 'stable'
const IMAGE = makeImage(7)
const SCALE_OUT_ROUNDS = 15
const HEADERS = { Accept: MANIFEST_TYPE }

/** A manifest of 1.6 KB, read by tag and by digest, and asked for by HEAD. */
export const makeManifestWork: MakeWork = ({ quick, scaleOut, rounds }) => {
  const connectionCounts = quick ? [16] : [1, 16, 64]
  return {
    name: 'manifest',
    includesLimit: false,
    startsServers: false,
    // Beside itself a server differs by less than five rounds show.
    rounds: scaleOut && !quick ? Math.max(rounds, SCALE_OUT_ROUNDS) : rounds,
    prepare: (server) => withConnection(server, (connection) => pushImage(connection, REPOSITORY, IMAGE, TAG)),
    cases: [
      ...connectionCounts.map((connections) => manifestCase('GET', 'tag', connections)),
      ...connectionCounts.map((connections) => manifestCase('GET', 'digest', connections)),
      ...connectionCounts.map((connections) => manifestCase('HEAD', 'tag', connections)),
    ],
  }
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
