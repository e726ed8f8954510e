import { createHash } from 'node:crypto'
import type { HttpConnection } from './http-connection.ts'

/** What a GET has to give. */
export interface Expected {
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly digest: string
  readonly sizeBytes: number
}

/**
 * Reads an object and drops it.
 * @throws Error unless the answer is 200 with the right length and, where the server names it, the right digest
 */
export async function download(connection: HttpConnection, expected: Expected): Promise<void> {
  await get(connection, expected)
}

/** Reads an object and compares the digest of every byte: slow, so outside of what is measured. */
export async function downloadAndVerify(connection: HttpConnection, expected: Expected): Promise<void> {
  const hash = createHash('sha256')
  await get(connection, expected, (piece) => void hash.update(piece))
  if (`sha256:${hash.digest('hex')}` !== expected.digest) throw new Error(`${expected.path}: other bytes`)
}

async function get(connection: HttpConnection, expected: Expected, onBody?: (piece: Buffer) => void): Promise<void> {
  const { path, headers, digest, sizeBytes } = expected
  const answer = await connection.request({
    method: 'GET',
    path,
    ...(headers === undefined ? {} : { headers }),
    ...(onBody === undefined ? {} : { onBody }),
  })
  if (answer.status !== 200) throw new Error(`${path}: status ${answer.status}`)
  if (answer.bodyBytes !== sizeBytes) throw new Error(`${path}: ${answer.bodyBytes} bytes instead of ${sizeBytes}`)
  const named = answer.headers.get('docker-content-digest')
  if (named !== undefined && named !== digest) throw new Error(`${path}: digest ${named}`)
}
