import type { HttpAnswer, HttpConnection } from './http-connection.ts'
import { MIB, type Payload } from './payload.ts'

const OCTETS = { 'Content-Type': 'application/octet-stream' }
const CHUNK_BYTES = 16 * MIB

/** One way to push a blob. It throws unless the server answers as distribution-spec says ("Pushing blobs"). */
export type Upload = (connection: HttpConnection, repository: string, payload: Payload) => Promise<void>

/** POST, then one PUT with all bytes, as containerd does. */
export const uploadMonolithic: Upload = async (connection, repository, payload) => {
  const location = await startUpload(connection, repository)
  await finishUpload(connection, location, payload, payload.read(0, payload.sizeBytes))
}

/** POST, PATCHes of 16 MiB with Content-Range, and an empty PUT, as regclient does. */
export const uploadInChunks: Upload = async (connection, repository, payload) => {
  let location = await startUpload(connection, repository)
  for (let start = 0; start < payload.sizeBytes; start += CHUNK_BYTES) {
    const end = Math.min(start + CHUNK_BYTES, payload.sizeBytes)
    const answer = await connection.request({
      method: 'PATCH',
      path: location,
      headers: { ...OCTETS, 'Content-Range': `${start}-${end - 1}` },
      body: { bytes: payload.read(start, end), length: end - start },
    })
    expectStatus(answer, 202, 'PATCH of a chunk')
    location = locationOf(answer)
  }
  await finishUpload(connection, location, payload)
}

/** POST, one PATCH in chunked transfer coding without a length, and an empty PUT, as Docker does. */
export const uploadStreamed: Upload = async (connection, repository, payload) => {
  const answer = await connection.request({
    method: 'PATCH',
    path: await startUpload(connection, repository),
    headers: OCTETS,
    body: { bytes: payload.read(0, payload.sizeBytes), length: undefined },
  })
  expectStatus(answer, 202, 'PATCH of a stream')
  await finishUpload(connection, locationOf(answer), payload)
}

/** Pushes small content, such as an image configuration, in one go. */
export async function uploadBytes(
  connection: HttpConnection,
  repository: string,
  content: { readonly digest: string; readonly bytes: Buffer },
): Promise<void> {
  const payload = { digest: content.digest, sizeBytes: content.bytes.length }
  await finishUpload(connection, await startUpload(connection, repository), payload, [content.bytes])
}

/** Pushes small content with its POST alone ("Single POST"): half the requests, where many blobs are to be laid out. */
export async function postBytes(
  connection: HttpConnection,
  repository: string,
  { digest, bytes }: { readonly digest: string; readonly bytes: Buffer },
): Promise<void> {
  const answer = await connection.request({
    method: 'POST',
    path: `/v2/${repository}/blobs/uploads/?digest=${digest}`,
    headers: OCTETS,
    body: { bytes: [bytes], length: bytes.length },
  })
  expectStatus(answer, 201, 'push by POST')
}

/** Makes a blob of another repository of the same registry known in this one ("Mounting a blob"). */
export async function mountBlob(
  connection: HttpConnection,
  repository: string,
  source: { readonly digest: string; readonly from: string },
): Promise<void> {
  const path = `/v2/${repository}/blobs/uploads/?mount=${source.digest}&from=${source.from}`
  expectStatus(await connection.request({ method: 'POST', path }), 201, 'mount')
}

/** @throws Error when the answer has another status */
export function expectStatus(answer: HttpAnswer, status: number, what: string): void {
  if (answer.status !== status) throw new Error(`${what}: status ${answer.status} instead of ${status}`)
}

/** Starts an upload and gives the path to send it to. */
async function startUpload(connection: HttpConnection, repository: string): Promise<string> {
  const answer = await connection.request({ method: 'POST', path: `/v2/${repository}/blobs/uploads/` })
  expectStatus(answer, 202, 'start of an upload')
  return locationOf(answer)
}

async function finishUpload(
  connection: HttpConnection,
  location: string,
  { digest, sizeBytes }: Pick<Payload, 'digest' | 'sizeBytes'>,
  bytes?: Iterable<Buffer>,
): Promise<void> {
  const answer = await connection.request({
    method: 'PUT',
    path: `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`,
    ...(bytes === undefined ? {} : { headers: OCTETS, body: { bytes, length: sizeBytes } }),
  })
  expectStatus(answer, 201, 'end of an upload')
  if (answer.headers.get('docker-content-digest') !== digest) throw new Error('a blob got another digest')
}

function locationOf(answer: HttpAnswer): string {
  const { pathname, search } = new URL(answer.headers.get('location') ?? '', 'http://localhost')
  return pathname + search
}
