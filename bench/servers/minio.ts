import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { firstLineOf } from '../programs.ts'
import type { ServerKind } from './kinds.ts'

/** Who may write to the bench's MinIO. */
export const MINIO_CREDENTIALS = { accessKeyId: 'entrepot-bench', secretAccessKey: 'entrepot-bench-secret' }

/** MinIO with nothing before it: it shows what the store itself can do. Undefined when it is not installed. */
export function findMinio(): ServerKind | undefined {
  const version = firstLineOf('minio', ['--version'])
  if (version === undefined) return undefined
  return {
    name: 'minio',
    title: 'MinIO by its S3 client',
    version: version.replace('minio version ', ''),
    isRegistry: false,
    async configure(folder, port) {
      const data = join(folder, 'data')
      // To MinIO a folder is a bucket.
      await mkdir(join(data, MINIO_BUCKET), { recursive: true })
      return {
        file: 'env',
        args: [
          `MINIO_ROOT_USER=${MINIO_CREDENTIALS.accessKeyId}`,
          `MINIO_ROOT_PASSWORD=${MINIO_CREDENTIALS.secretAccessKey}`,
          'MINIO_BROWSER=off',
          'minio',
          'server',
          '--quiet',
          '--address',
          `127.0.0.1:${port}`,
          data,
        ],
      }
    },
  }
}

export const MINIO_BUCKET = 'registry'
