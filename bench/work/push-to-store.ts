import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { makePayload, MIB, type Payload } from '../client/payload.ts'
import { uploadMonolithic } from '../client/upload.ts'
import { MINIO_BUCKET, MINIO_CREDENTIALS } from '../servers/minio.ts'
import { removeLargeFiles } from '../servers/remove-large-files.ts'
import { costOf, type Server, withConnection } from '../servers/server.ts'
import { type MakeWork, sizeText, transferReadings } from './work.ts'

const REPOSITORY = 'bench/pushed'
/** What Entrepot uses unless it is told otherwise, and how many parts it has on their way at a time. */
const PART_BYTES = 10 * MIB
const PARTS_AT_ONCE = 4

/** One blob pushed to a registry, and to the store itself in parts, which is the least that a registry can take. */
export const makePushToStoreWork: MakeWork = ({ quick }) => {
  const sizeBytes = (quick ? 64 : 256) * MIB
  return {
    name: 'push-to-store',
    includesLimit: true,
    startsServers: false,
    prepare: async () => {},
    cases: [
      {
        label: `push monolithic ${sizeText(sizeBytes)}, 1 client`,
        async measure(server) {
          const payload = makePayload(sizeBytes)
          const cost = server.kind.isRegistry
            ? await withConnection(server, (connection) =>
                costOf(server, () => uploadMonolithic(connection, REPOSITORY, payload)),
              )
            : await costOf(server, () => uploadInParts(server, payload))
          removeLargeFiles(server.dataFolder)
          return transferReadings(sizeBytes, cost)
        },
      },
    ],
  }
}

async function uploadInParts(server: Server, payload: Payload): Promise<void> {
  const client = new S3Client({
    region: 'us-east-1',
    endpoint: `http://127.0.0.1:${server.port}`,
    forcePathStyle: true,
    credentials: MINIO_CREDENTIALS,
  })
  const object = { Bucket: MINIO_BUCKET, Key: payload.digest }
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...object, ChecksumAlgorithm: 'CRC32' }))
  const starts = Array.from({ length: Math.ceil(payload.sizeBytes / PART_BYTES) }, (_, index) => index * PART_BYTES)
  const rest = starts.entries()
  const parts: { PartNumber: number; ETag: string | undefined; ChecksumCRC32: string | undefined }[] = []
  const sendRest = async () => {
    for (const [index, start] of rest) {
      const Body = Buffer.concat([...payload.read(start, Math.min(start + PART_BYTES, payload.sizeBytes))])
      const part = { ...object, UploadId, PartNumber: index + 1, Body, ChecksumAlgorithm: 'CRC32' } as const
      const { ETag, ChecksumCRC32 } = await client.send(new UploadPartCommand(part))
      parts.push({ PartNumber: index + 1, ETag, ChecksumCRC32 })
    }
  }
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, sendRest))
  const Parts = parts.toSorted((a, b) => a.PartNumber - b.PartNumber)
  await client.send(new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts } }))
  client.destroy()
}
