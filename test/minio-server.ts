import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { isInstalled, SEARCH_PATH, skipUnlessRequired } from './clients/programs.ts'
import { freePort, until } from './harness.ts'
import type { Certificate } from './operations/certificates.ts'

const START_TIMEOUT_MS = 30_000
const ACCESS_KEY = 'entrepot-test'
const SECRET_KEY = 'entrepot-test-secret'
const BUCKET = 'registry'
const KEY_ID = 'entrepot-key'

/** A MinIO server of its own in a temporary folder, with one bucket. */
export interface MinioServer {
  readonly port: number
  /** What `storage.s3` has to say to use its bucket. */
  readonly storage: {
    readonly bucket: string
    readonly region: string
    readonly regionendpoint: string
    readonly accesskey: string
    readonly secretkey: string
  }
  /** The key that it encrypts with where that is asked for. */
  readonly keyId: string
  /** Where it keeps the bucket. */
  readonly folder: string
  start(): Promise<void>
  stop(): Promise<void>
  /** Ends it and removes its folder. */
  remove(): Promise<void>
}

/** Tells, and skips the test otherwise, whether a server can be started here. */
export function isMinioPresent(t: TestContext): boolean {
  if (isInstalled('minio')) return true
  skipUnlessRequired(t, 'minio is not installed')
  return false
}

/** @param certificate for a server that speaks TLS. */
export async function startMinio(certificate?: Certificate): Promise<MinioServer> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-minio-'))
  const port = await freePort()
  const url = `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  const certificates = join(folder, 'certificates')
  let server: ChildProcess | undefined
  let output = ''
  const minio: MinioServer = {
    port,
    keyId: KEY_ID,
    folder: join(folder, 'data', BUCKET),
    storage: {
      bucket: BUCKET,
      region: 'us-east-1',
      regionendpoint: url,
      accesskey: ACCESS_KEY,
      secretkey: SECRET_KEY,
    },
    start: async () => {
      const started = spawn(
        'minio',
        ['server', '--quiet', '--certs-dir', certificates, '--address', `127.0.0.1:${port}`, join(folder, 'data')],
        {
          env: {
            PATH: SEARCH_PATH,
            HOME: folder,
            MINIO_ROOT_USER: ACCESS_KEY,
            MINIO_ROOT_PASSWORD: SECRET_KEY,
            MINIO_BROWSER: 'off',
            MINIO_KMS_SECRET_KEY: `${KEY_ID}:${Buffer.alloc(32, KEY_ID).toString('base64')}`,
          },
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      )
      server = started
      for (const stream of [started.stdout, started.stderr]) {
        stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
      }
      await until(
        async () => {
          if (started.exitCode !== null) throw new Error(`minio ended:\n${output}`)
          return isReady(`${url}/minio/health/ready`)
        },
        START_TIMEOUT_MS,
        () => `minio does not answer:\n${output}`,
      )
    },
    stop: async () => {
      if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
      const exited = once(server, 'exit')
      server.kill('SIGKILL')
      await exited
    },
    remove: async () => {
      await minio.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
  await mkdir(certificates)
  if (certificate !== undefined) {
    await copyFile(certificate.certificate, join(certificates, 'public.crt'))
    await copyFile(certificate.key, join(certificates, 'private.key'))
  }
  // To MinIO a folder is a bucket.
  await mkdir(minio.folder, { recursive: true })
  await minio.start()
  return minio
}

async function isReady(url: string): Promise<boolean> {
  if (url.startsWith('http:')) {
    return fetch(url).then(
      ({ ok }) => ok,
      () => false,
    )
  }
  const asked = request(url, { rejectUnauthorized: false }).end()
  try {
    const [answer]: { statusCode?: number; resume(): void }[] = await once(asked, 'response')
    answer?.resume()
    return answer?.statusCode === 200
  } catch {
    return false
  }
}
