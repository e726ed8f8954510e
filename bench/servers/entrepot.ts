import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type MinioServer, startMinio } from '../../test/minio-server.ts'
import { type PostgresCluster, startPostgres } from '../../test/postgres-cluster.ts'
import type { Certificate } from '../../test/operations/certificates.ts'
import { firstLineOf } from '../programs.ts'
import type { ServerKind } from './kinds.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))

/** What answers to `entrepot version`, and the commit of its sources. */
export function entrepotVersion(): string {
  const version = firstLineOf(LAUNCHER, ['version'])?.replace(/^entrepot /, '') ?? 'unknown'
  const describe = ['--no-optional-locks', '-C', join(LAUNCHER, '..'), 'describe', '--always', '--dirty']
  return `${version}, commit ${firstLineOf('git', describe)}`
}

/** Entrepot, or another registry that reads the same configuration file: all of them get the same one. */
export function registryInFolder({ file = LAUNCHER, ...kind }: RegistryKind): ServerKind {
  return {
    ...kind,
    isRegistry: true,
    async configure(folder, port, tls) {
      const storage = {
        filesystem: { rootdirectory: join(folder, 'data') },
        delete: { enabled: true },
        cache: { blobdescriptor: 'inmemory' },
      }
      return { file, args: await serveArguments(folder, { storage, http: { port, tls } }) }
    },
  }
}

type RegistryKind = Pick<ServerKind, 'name' | 'title' | 'version'> & { readonly file?: string }

/** Entrepot with its metadata in PostgreSQL and its blobs in MinIO, both of which it gets for itself. */
export function scaledOutEntrepot(kind: RegistryKind): ServerKind {
  const backings = new Map<string, Promise<Backing>>()
  return {
    ...kind,
    isRegistry: true,
    async configure(folder, port, tls) {
      const backing = backings.get(folder) ?? startBacking(folder)
      backings.set(folder, backing)
      const { postgres, minio } = await backing
      const storage = { s3: minio.storage, delete: { enabled: true }, redirect: { disable: true } }
      const database = { url: postgres.url('postgres') }
      return { file: LAUNCHER, args: await serveArguments(folder, { storage, database, http: { port, tls } }) }
    },
    async end(folder) {
      const backing = await backings.get(folder)
      await Promise.all([backing?.postgres.remove(), backing?.minio.remove()])
    },
  }
}

/** It looks each minute what has grown, and chooses other plans then; here nobody waits for that. */
const POSTGRES_SETTINGS = { autovacuum_naptime: '1s' }

interface Backing {
  readonly postgres: PostgresCluster
  readonly minio: MinioServer
}

async function startBacking(folder: string): Promise<Backing> {
  const [postgres, minio] = await Promise.all([startPostgres(POSTGRES_SETTINGS), startMinio()])
  await symlink(minio.folder, join(folder, 'data'))
  return { postgres, minio }
}

async function serveArguments(
  folder: string,
  { http, ...sections }: { storage: object; database?: object; http: { port: number; tls: Certificate | undefined } },
): Promise<string[]> {
  const { port, tls } = http
  const config = {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    ...sections,
    http: { addr: `127.0.0.1:${port}`, secret: 'the same for every server', ...(tls !== undefined && { tls }) },
  }
  await mkdir(folder, { recursive: true })
  const configFile = join(folder, 'config.yml')
  await writeFile(configFile, JSON.stringify(config, null, 2))
  return ['serve', configFile]
}
